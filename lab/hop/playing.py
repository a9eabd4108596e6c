"""The device's side: whole frames, each by every transport in turn."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from time import perf_counter

from bus.errors import ConfigurationError
from bus.messages import ActivationRequest, InferenceReply
from bus.topics import INFER, REPLY
from bus.wire import decode, encode
from device.rotation import Rotation
from lab.event_loop import new_event_loop
from lab.hop.rows import Row
from lab.hop.site import Ports, brokers, opened, site
from lab.hop.spec import Hop
from lab.transports.asking import Ask
from partition.arms import Arm
from partition.images import Frame, MovingCrops
from partition.networks.zoo import load_model
from partition.partitioned import PartitionedModel, build

_WARM_FRAMES = 3


def measure(hop: Hop) -> list[Row]:
    """Start everything, play the experiment, end everything.

    Raises:
        ConfigurationError: no broker runs, the network cannot be cut so, or an answer did not come.
    """
    model = build(load_model(hop.network), codecs=hop.codecs)
    arms = [model.arm(label) for label in hop.arms]
    model.warm_up(tails=False)
    with brokers() as through, asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_play(hop, model, arms, through))


async def _play(hop: Hop, model: PartitionedModel, arms: Sequence[Arm], through: Ports) -> list[Row]:
    rows: list[Row] = []
    with ThreadPoolExecutor(1, thread_name_prefix="head") as threads:
        async with site(hop, through) as ports_of:
            for link in hop.links:
                async with opened(ports_of[link.name]) as asks:
                    device = _Device(hop, model, threads, asks)
                    for arm in arms:
                        print(f"hop: {link.name}, {arm.label}", file=sys.stderr, flush=True)
                        rows += [row async for row in device.play(link.name, arm)]
    return rows


class _Device:
    """Plays frames over one link."""

    def __init__(
        self, hop: Hop, model: PartitionedModel, threads: ThreadPoolExecutor, asks: Mapping[str, Ask]
    ) -> None:
        self._hop = hop
        self._model = model
        self._threads = threads
        self._asks = asks

    async def play(self, link: str, arm: Arm) -> AsyncIterator[Row]:
        """Yield the frames of all repetitions; the first ones ever are not among them."""
        frames = self._hop.frames
        film = MovingCrops(self._hop.seed, self._model.input_size)
        order = Rotation(list(self._asks))
        for turn in range(-_WARM_FRAMES, self._hop.repetitions * frames):
            picture = film.frame(max(turn, 0))
            for name in order(turn):
                total, front, reply, size = await self._frame(picture, arm, name, turn + _WARM_FRAMES)
                if turn < 0:
                    continue
                edge_ms = reply.decode_ms + reply.tail_ms
                yield Row(
                    link=link,
                    arm=arm.label,
                    transport=name,
                    repetition=turn // frames,
                    number=turn % frames,
                    total_ms=total,
                    front_ms=front,
                    edge_ms=edge_ms,
                    way_ms=total - front - edge_ms,
                    request_bytes=size,
                    top=reply.top,
                )

    async def _frame(
        self, picture: Frame, arm: Arm, name: str, seq: int
    ) -> tuple[float, float, InferenceReply, int]:
        """Play one frame; returns ms of all and until it was sent, the reply, and the request's bytes."""
        started = perf_counter()
        loop = asyncio.get_running_loop()
        head = await loop.run_in_executor(self._threads, self._model.run_head, picture, arm)
        assert head.payload is not None  # arms of the experiment send something
        request = ActivationRequest(
            id=f"hop-{seq}",
            device="dev-1",
            type="phone",
            model=self._model.hash,
            cut=arm.cut,
            codec=arm.codec,
            dtype=head.dtype,
            shape=head.shape,
            seq=seq,
            budget_ms=1e3 * self._hop.timeout_s,
            payload=memoryview(head.payload),
        )
        message = encode(INFER, request)
        sent = perf_counter()
        async with _answered_by(name, self._hop.timeout_s):
            reply = decode(REPLY, await self._asks[name](message), InferenceReply)
        ended = perf_counter()
        return 1e3 * (ended - started), 1e3 * (sent - started), reply, len(message)


@asynccontextmanager
async def _answered_by(name: str, timeout_s: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise ConfigurationError(
            f"no answer by {name} within {timeout_s:g} s: what the answering process says stands above"
        ) from None
