"""What batches give an edge worker that many devices ask at once.

Two edge workers with the same network, as processes: one answers up to eight frames with one run of a tail,
the other one frame each. Eight devices that ask without a pause load one, then the other, in turn, so that a
busy moment of the machine hits both; the other one rests meanwhile.
"""

import asyncio
import contextlib
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from operator import truediv

import msgspec
import numpy as np
import psutil

from bus.address import BrokerAddress
from bus.connection import Connection, Delivery, Endpoint
from bus.errors import ConfigurationError
from bus.messages import ActivationRequest, InferenceReply, State
from bus.mqtt import open_connection
from bus.topics import INFER, REPLY, STATE, Topics
from bus.wire import decode, encode
from device.rotation import Rotation
from lab.bench.rows import Row
from lab.event_loop import new_event_loop
from lab.transports.brokers import running

NETWORK = "mobilenet_v2"
DEVICES = 8
LARGEST = {"none": 1, "batched": 8}
ARMS = ("0/uint8", "3/int8-zstd", "10/int8-zstd", "12/int8-zstd")
JUDGED = ("10/int8-zstd",)
LEAST_GAIN = 1.5
TOPICS = Topics("bench/v1")
_START_S = 120.0


@dataclass(slots=True)
class Load:
    """What one edge worker did under load.

    Attributes:
        rates: answers a second, one a round. p95_ms: of the latencies, from request to answer in hand.
        cpu_ms: processor time of the edge worker for an answer. batches: mean size of a frame's batch.
    """

    rates: list[float] = field(default_factory=list)
    p95_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    batches: list[float] = field(default_factory=list)

    def add(self, seconds: float, cpu_s: float, latencies: list[float], batches: list[int]) -> None:
        """Take in a round."""
        self.rates.append(len(latencies) / seconds)
        self.p95_ms.append(float(np.percentile(latencies, 95.0)) * 1e3)
        self.cpu_ms.append(cpu_s * 1e3 / len(latencies))
        self.batches.append(statistics.mean(batches))


class Devices:
    """Devices that share a connection and ask without a pause.

    Args:
        link: subscribed to replies and states.
    """

    def __init__(self, link: Connection) -> None:
        self._link = link
        self._numbers = count()
        self._asked: dict[str, asyncio.Future[InferenceReply]] = {}
        self._ready: dict[str, asyncio.Event] = {edge: asyncio.Event() for edge in LARGEST}

    async def read(self) -> None:
        """Hand out what comes, for ever."""
        async for event in self._link.events():
            if not isinstance(event, Delivery):
                continue
            event.ack()
            address = TOPICS.parse(event.topic)
            if address is not None and address.topic is STATE:
                state = decode(STATE, event.payload, State)
                if state.state == "ready" and state.id in self._ready:
                    self._ready[state.id].set()
            elif address is not None and address.topic is REPLY:
                reply = decode(REPLY, event.payload, InferenceReply)
                self._asked.pop(reply.id).set_result(reply)

    async def until_ready(self) -> None:
        """Wait for both edge workers.

        Raises:
            ConfigurationError: one does not come.
        """
        try:
            async with asyncio.timeout(_START_S):
                for ready in self._ready.values():
                    await ready.wait()
        except TimeoutError:
            raise ConfigurationError(f"the edge workers did not come within {_START_S:g} s") from None

    async def load(
        self, edge: str, process: psutil.Process, request: ActivationRequest, seconds: float, into: Load
    ) -> None:
        """Let all devices ask for so long, each as soon as it has its answer."""
        loop = asyncio.get_running_loop()
        began, before = loop.time(), process.cpu_times()
        latencies: list[float] = []
        batches: list[int] = []

        async def ask(device: str) -> None:
            topic = TOPICS.of(INFER, edge=edge, device=device)
            while (asked := loop.time()) < began + seconds:
                id_ = str(next(self._numbers))
                self._asked[id_] = answer = loop.create_future()
                message = msgspec.structs.replace(request, id=id_, device=device)
                await self._link.publish(topic, encode(INFER, message))
                reply = await answer
                latencies.append(loop.time() - asked)
                batches.append(reply.batch)

        async with asyncio.TaskGroup() as tasks:
            for number in range(DEVICES):
                tasks.create_task(ask(f"dev-{number}"), name=f"dev-{number}")
        after = process.cpu_times()
        cpu_s = after.user + after.system - before.user - before.system
        into.add(loop.time() - began, cpu_s, latencies, batches)


def run(*, quick: bool) -> Iterator[Row]:
    """Measure at the input, at an early cut and at late ones."""
    rounds, seconds = (1, 1.0) if quick else (6, 3.0)
    requests = _requests()
    with (
        running("mosquitto") as broker,
        _edges(broker) as edges,
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        loads = runner.run(_measure(broker, edges, requests, rounds, seconds))
    for label, load in loads.items():
        yield from _rows(label, load["none"], load["batched"])


def _rows(label: str, none: Load, batched: Load) -> Iterator[Row]:
    name, judged = f"batching, {DEVICES} devices at {NETWORK} {label}", label in JUDGED
    # Round by round: neighbours in time have met the same machine.
    gain, p95, cpu = (
        statistics.median(map(truediv, mine, others))
        for mine, others in (
            (batched.rates, none.rates),
            (batched.p95_ms, none.p95_ms),
            (batched.cpu_ms, none.cpu_ms),
        )
    )
    yield Row(f"{name}: answers/s against none", gain, "ratio", LEAST_GAIN if judged else None, "least")
    yield Row(f"{name}: p95 against none", p95, "ratio", 1.0 if judged else None)
    yield Row(f"{name}: CPU an answer against none", cpu, "ratio")
    yield Row(f"{name}: answers/s", statistics.median(batched.rates), "1/s")
    yield Row(f"{name}: p95", statistics.median(batched.p95_ms), "ms")
    yield Row(f"{name}: frames that share a run", statistics.median(batched.batches), "frames")


def _requests() -> dict[str, ActivationRequest]:
    """Return what devices ask, by arm: one frame of drawn pixels, encoded once."""
    from partition.networks.zoo import load_model  # noqa: PLC0415 - torch
    from partition.partitioned import build  # noqa: PLC0415

    model = build(load_model(NETWORK))
    frame = np.random.default_rng(0).integers(0, 256, (*model.input_size, 3), dtype=np.uint8)
    found = {}
    for label in ARMS:
        arm = model.arm(label)
        head = model.run_head(frame, arm)
        assert head.payload is not None
        found[label] = ActivationRequest(
            id="0",
            device="dev-0",
            type="bench",
            model=model.hash,
            cut=arm.cut,
            codec=arm.codec,
            dtype=head.dtype,
            shape=head.shape,
            seq=0,
            budget_ms=60_000.0,
            payload=memoryview(bytes(head.payload)),
        )
    return found


async def _measure(
    broker: BrokerAddress,
    edges: Mapping[str, psutil.Process],
    requests: Mapping[str, ActivationRequest],
    rounds: int,
    seconds: float,
) -> dict[str, dict[str, Load]]:
    """Return what each edge worker did, by arm."""
    loads = {label: {edge: Load() for edge in LARGEST} for label in requests}
    topics = ((TOPICS.filter(REPLY), REPLY.qos), (TOPICS.filter(STATE), STATE.qos))
    async with open_connection(broker, Endpoint("bench-devices", subscriptions=topics)) as link:
        devices = Devices(link)
        reading = asyncio.get_running_loop().create_task(devices.read(), name="bench-devices")
        await devices.until_ready()
        order = Rotation(list(LARGEST))
        for label, request in requests.items():
            for turn in range(-1, rounds):
                for edge in order(turn):
                    into = loads[label][edge] if turn >= 0 else Load()  # the first round warms up
                    await devices.load(edge, edges[edge], request, seconds if turn >= 0 else 0.5, into)
        reading.cancel()
    return loads


@contextlib.contextmanager
def _edges(broker: BrokerAddress) -> Iterator[dict[str, psutil.Process]]:
    """Run both edge workers while the block lasts."""
    common = ["--broker", broker.url, "--prefix", TOPICS.prefix, "--model", NETWORK, "--log-level", "warning"]
    found = {}
    with contextlib.ExitStack() as stack:
        for edge, largest in LARGEST.items():
            command = [sys.executable, "-m", "cans", "edge", "--id", edge, "--largest-batch", str(largest)]
            process = stack.enter_context(subprocess.Popen([*command, *common]))  # noqa: S603 - our own
            stack.callback(process.terminate)
            found[edge] = psutil.Process(process.pid)
        yield found
