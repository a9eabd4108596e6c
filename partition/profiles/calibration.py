"""Times a network on this machine: segments, operators, codecs and early exits, for `cans profile`.

A round times everything once, in one order; the median over the rounds is what each part takes. So whatever
disturbs a round hits all parts alike, and heads grow with the cut as they must.
This file must never decide whether times are to be trusted (`partition/profiles/trust.py`).
"""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx, nn

from bus.errors import ConfigurationError
from partition.arms import NO_CODEC, Arm
from partition.bundle import decode, encode
from partition.images import Frame, MovingCrops
from partition.partitioned import PartitionedModel
from partition.preprocessing import normalise
from partition.profiles.machine import Watch, this_machine
from partition.profiles.profile_file import ArmTimes, ExitTimes, Operator, Profile, Segment, Timing
from partition.profiles.trust import doubts_of, drift_of

Samples = npt.NDArray[np.float64]
OnRound = Callable[[int], None]

# Rounds that do not count: allocators, caches and clock frequency settle in them.
SETTLING = 3
# A product that takes about a millisecond, whatever the network.
_PROBE_SIZE = 320
# Neighbouring frames differ little; these are of all photographs.
_FRAME_STEP = 13


def _nothing(number: int) -> None:
    """Report no progress."""
    del number


def calibrate(
    model: PartitionedModel, *, repeats: int = 40, threads: int = 1, on_round: OnRound = _nothing
) -> Profile:
    """Time a network here.

    Args:
        model: is warmed up first.
        repeats: rounds that count.
        threads: that the model was built with, to be recorded.
        on_round: told after each round how many are done.

    Raises:
        ConfigurationError: no round would count, or an arm gives no answer.
    """
    if repeats < 1:
        raise ConfigurationError(f"{repeats} rounds time nothing: give 1 or more, 10 to know a spread")
    model.warm_up()
    rounds = _Rounds(model, repeats)
    film = MovingCrops(0, model.input_size)
    with torch.inference_mode(), _no_collector():
        for number in range(-SETTLING, 0):
            rounds.play(film.frame(-number * _FRAME_STEP), number % repeats)
        watch = Watch()
        for number in range(repeats):
            rounds.play(film.frame(number * _FRAME_STEP), number)
            on_round(number + 1)
        return rounds.profile(watch, threads)


class _Rounds:
    """All samples, milliseconds, (rounds, parts); a settling round writes where a later one will."""

    def __init__(self, model: PartitionedModel, repeats: int) -> None:
        self._model = model
        self._repeats = repeats
        segments, arms = len(model.cuts) - 1, len(model.arms)
        self._pieces = [model.piece(cut, cut + 1) for cut in range(segments)]
        self._stopwatch = _stopwatch_of(model.piece(0, segments))
        self.probe = np.zeros(repeats)
        self.normalise = np.zeros(repeats)
        self.segments = np.zeros((repeats, segments))
        self.encode = np.zeros((repeats, arms))
        self.decode = np.zeros((repeats, arms))
        self.payload_bytes = np.zeros((repeats, arms))
        self.exits = np.zeros((repeats, model.exit_count))
        self.operators: list[dict[str, float]] = [{} for _ in range(repeats)]
        self._factor = torch.ones(_PROBE_SIZE, _PROBE_SIZE)

    def play(self, frame: Frame, number: int) -> None:
        """Time everything once."""
        started = time.perf_counter()
        torch.mm(self._factor, self._factor)
        self.probe[number] = _ms_since(started)
        crossing = self._play_segments(frame, number)
        for arm in self._model.arms:
            if arm.codec != NO_CODEC:
                self._play_codec(arm, frame, crossing[arm.cut], number)
        for each in range(self._model.exit_count):
            self.exits[number, each] = self._model.run_exits(frame, each).latency_ms
        if self._stopwatch is not None:
            self.operators[number] = self._stopwatch.play(normalise(frame).to(self._model.device))

    def _play_segments(self, frame: Frame, number: int) -> list[tuple[Tensor, ...]]:
        """Run the network piece by piece; return what crosses each cut but the last."""
        started = time.perf_counter()
        crossing: tuple[Tensor, ...] = (normalise(frame).to(self._model.device),)
        self.normalise[number] = _ms_since(started)
        seen = []
        for cut, piece in enumerate(self._pieces):
            seen.append(crossing)
            started = time.perf_counter()
            crossing = piece(*crossing)[: len(self._model.cuts[cut + 1].tensors)]
            _wait_for(self._model.device)
            self.segments[number, cut] = _ms_since(started)
        return seen

    def _play_codec(self, arm: Arm, frame: Frame, crossing: tuple[Tensor, ...], number: int) -> None:
        codec = self._model.codecs[arm.codec]
        started = time.perf_counter()
        encoded = codec.encode(frame) if codec.encodes_frames else encode(codec, crossing)
        self.encode[number, arm.index] = _ms_since(started)
        started = time.perf_counter()
        if codec.encodes_frames:
            codec.decode(encoded.payload, encoded.dtype, encoded.shape)
        else:
            decode(codec, encoded.payload, encoded.dtype, self._model.cuts[arm.cut].tensors)
        self.decode[number, arm.index] = _ms_since(started)
        self.payload_bytes[number, arm.index] = encoded.payload_bytes

    def profile(self, watch: Watch, threads: int) -> Profile:
        """Return what was found."""
        model, machine = self._model, this_machine()
        network = self.segments.sum(axis=1)
        conditions = watch.conditions(
            threads=threads,
            probe=_timing(self.probe),
            network_drift=drift_of(network.tolist()),
            probe_drift=drift_of(self.probe.tolist()),
        )
        whole, segments = _timing(network), self._segments()
        return Profile(
            name=model.name,
            weights=model.weights_label,
            model=model.hash,
            schema=model.schema.hash,
            machine=machine,
            conditions=conditions,
            repeats=self._repeats,
            warnings=doubts_of(whole, segments, conditions, cores=machine.cores, repeats=self._repeats),
            columns=model.schema.columns,
            front=tuple(bool(front) for front in model.schema.front),
            whole=whole,
            normalise=_timing(self.normalise),
            segments=segments,
            operators=self._operators(),
            arms=tuple(self._arm(arm, model.contexts[arm.index].tolist()) for arm in model.arms),
            exits=tuple(
                ExitTimes(context=tuple(model.exit_context(each).tolist()), time=_timing(self.exits[:, each]))
                for each in range(model.exit_count)
            ),
        )

    def _segments(self) -> tuple[Segment, ...]:
        cuts = self._model.cuts
        return tuple(
            Segment(name=cuts[stop].name, start=stop - 1, stop=stop, time=_timing(self.segments[:, stop - 1]))
            for stop in range(1, len(cuts))
        )

    def _operators(self) -> tuple[Operator, ...]:
        """Return the operators in order; those that only some rounds have passed are left out."""
        if self._stopwatch is None:
            return ()
        kinds = self._stopwatch.kinds
        return tuple(
            Operator(
                name=name, kind=kinds[name], time=_timing(np.array([each[name] for each in self.operators]))
            )
            for name in self.operators[0]
            if all(name in each for each in self.operators)
        )

    def _arm(self, arm: Arm, context: list[float]) -> ArmTimes:
        head = self.segments[:, : arm.cut].sum(axis=1)
        tail = self.segments[:, arm.cut :].sum(axis=1)
        if arm.codec != NO_CODEC and self._model.codecs[arm.codec].encodes_frames:
            tail = tail + self.normalise  # the frame crosses as it is
        else:
            head = head + self.normalise
        return ArmTimes(
            label=arm.label,
            context=tuple(context),
            payload_bytes=float(self.payload_bytes[:, arm.index].mean()),
            head=_timing(head),
            encode=_timing(self.encode[:, arm.index]),
            decode=_timing(self.decode[:, arm.index]),
            tail=_timing(tail),
        )


class _Stopwatch(fx.Interpreter):
    """Runs a traced network node by node and times each: the call alone, not what finds its arguments."""

    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__(network)
        self.kinds: dict[str, str] = {}
        self._spent_ms: dict[str, float] = {}
        self._node: fx.Node

    def play(self, x: Tensor) -> dict[str, float]:
        """Return the milliseconds of each operator, in order."""
        self._spent_ms = {}
        self.run(x)
        return self._spent_ms

    def run_node(self, n: fx.Node) -> Any:  # noqa: ANN401 - torch's signature
        """Remember which node the call is of."""
        self._node = n
        return super().run_node(n)

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:  # noqa: ANN401 - torch's signature
        """As torch's, timed."""
        kind = str(getattr(target, "__name__", target)).removesuffix(".default")
        return self._timed(kind, super().call_function, target, args, kwargs)

    def call_method(self, target: Any, args: Any, kwargs: Any) -> Any:  # noqa: ANN401 - as above
        """As torch's, timed."""
        return self._timed(str(target), super().call_method, target, args, kwargs)

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:  # noqa: ANN401 - as above
        """As torch's, timed."""
        kind = type(self.fetch_attr(target)).__name__
        return self._timed(kind, super().call_module, target, args, kwargs)

    def _timed(self, kind: str, call: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401 - as above
        started = time.perf_counter()
        result = call(*arguments)
        spent_ms = _ms_since(started)
        name = str(self._node.target) if self._node.op == "call_module" else self._node.name
        # A module called twice is one operator here.
        self._spent_ms[name] = self._spent_ms.get(name, 0.0) + spent_ms
        self.kinds[name] = kind
        return result


def _stopwatch_of(network: nn.Module) -> _Stopwatch | None:
    """Return what times its operators; None of a network that is no graph of them."""
    return _Stopwatch(network) if isinstance(network, fx.GraphModule) else None


def _timing(samples: Samples) -> Timing:
    low, middle, high = np.percentile(samples, [25.0, 50.0, 75.0])
    deviation = np.median(np.abs(samples - middle))
    # Tenths of a microsecond: more digits are noise, and make the file large.
    numbers = (round(float(each), 4) for each in (middle, low, high, deviation))
    return Timing(**dict(zip(("median_ms", "low_ms", "high_ms", "mad_ms"), numbers, strict=True)))


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _no_collector() -> Iterator[None]:
    """Keep the garbage collector out of the times, as timeit does."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
