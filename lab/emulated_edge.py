"""A slower edge worker than this machine: the real tails run, and the rest of their time is slept.

How long a tail takes is a slowness times what a profile of this machine says; for several frames, as many
times longer as the least that its thread has computed for them is longer than for one. Without a profile it
is that least itself, some tenths below what is usual: beside other processes, which share its caches, the
same work was seen to take a quarter longer, which is not the emulated machine's fault. So tails must compute
in one thread. Every figure made this way is emulated and says so. `cans edge --slowness 4` uses it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from bus.errors import ConfigurationError
from bus.messages import ActivationRequest
from edge.batching import Batches, Tail, tail_of
from edge.events import Failure, Output
from edge.served import Arms
from edge.tails import Tails

# Kinds of runs that are remembered; beyond them a run is stretched by its own time.
_MOST_KINDS = 1024


def require_emulated(slowness: float) -> None:
    """Refuse what cannot be emulated.

    Raises:
        ConfigurationError: a slowness below 1.
    """
    if not slowness >= 1.0:
        raise ConfigurationError(
            f"--slowness {slowness:g} will not do: an edge worker can only be emulated slower"
        )


class StretchedTails:
    """Implements `Tails` by stretching another's times.

    Args:
        inner: the real tails.
        slowness: how many times slower, >= 1.
        usual_s: seconds of decoding and tail of one frame, by cut and codec, as profiled; empty where nobody
            has.
        sleep: waits; blocks the worker thread as computing would.
        computed_s: seconds that the calling thread has computed so far.

    Raises:
        ConfigurationError: a slowness below 1.
    """

    def __init__(
        self,
        inner: Tails,
        slowness: float,
        usual_s: Mapping[tuple[int, str], float] = MappingProxyType({}),
        sleep: Callable[[float], None] = time.sleep,
        computed_s: Callable[[], float] = time.thread_time,
    ) -> None:
        require_emulated(slowness)
        self._inner = inner
        self._slowness = slowness
        self._usual_s = usual_s
        self._sleep = sleep
        self._computed_s = computed_s
        self._least: dict[tuple[Tail, int], float] = {}

    @property
    def models(self) -> Mapping[str, Arms]:
        """As `Tails.models`."""
        return self._inner.models

    @property
    def batches(self) -> Mapping[str, Batches]:
        """As `Tails.batches`: what is saved is in proportion."""
        return self._inner.batches

    @property
    def names(self) -> str:
        """As `Tails.names`."""
        return f"{self._inner.names}, emulated {self._slowness:.3g}x slower"

    def warm_up(self) -> None:
        """As `Tails.warm_up`."""
        self._inner.warm_up()

    def run(self, requests: Sequence[ActivationRequest]) -> tuple[Output | Failure, ...]:
        """As `Tails.run`, in the emulated edge worker's time."""
        began, computed_s = time.monotonic(), self._computed_s()
        outcomes = self._inner.run(requests)
        real_s = time.monotonic() - began
        least_s = self._least_s(requests, outcomes, self._computed_s() - computed_s)
        target_s = self._slowness * self._taken_s(requests, least_s)
        if target_s <= real_s:
            return outcomes
        self._sleep(target_s - real_s)
        return tuple(_slower(each, target_s / real_s) for each in outcomes)

    def _taken_s(self, requests: Sequence[ActivationRequest], least_s: float) -> float:
        """Return what such a run takes this machine as it usually is."""
        one_s = self._usual_s.get((requests[0].cut, requests[0].codec)) if requests[0] else None
        if one_s is None:
            return least_s
        alone_s = self._least.get((tail_of(requests[0]), 1))
        return one_s * (least_s / alone_s if alone_s else float(len(requests)))

    def _least_s(
        self, requests: Sequence[ActivationRequest], outcomes: Sequence[Output | Failure], computed_s: float
    ) -> float:
        """Return the least that such a run has taken so far; one with a failure tells nothing."""
        if any(isinstance(outcome, Failure) for outcome in outcomes):
            return computed_s
        run = (tail_of(requests[0]), len(requests))
        least_s = self._least.get(run)
        if least_s is None and len(self._least) >= _MOST_KINDS:
            return computed_s
        self._least[run] = computed_s if least_s is None else min(least_s, computed_s)
        return self._least[run]


def _slower(outcome: Output | Failure, times: float) -> Output | Failure:
    if isinstance(outcome, Failure):
        return outcome
    return replace(outcome, decode_ms=times * outcome.decode_ms, tail_ms=times * outcome.tail_ms)
