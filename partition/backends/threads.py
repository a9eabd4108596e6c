"""How many threads torch takes for a network: the fewest with which nothing is lost, here and now.

One thread too many costs whoever else runs on the machine, and small layers lose by handing over; so another
thread has to gain more than timings scatter.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from partition.backends.choice import LEAST_GAIN, REPEATS

# Wall-clock seconds after which no further round begins.
LIMIT_S = 1.0
# Rounds that are timed whatever they take.
_LEAST_REPEATS = 2


@dataclass(frozen=True, slots=True)
class ThreadChoice:
    """What each number of threads took.

    Attributes:
        seconds: the least of its runs, by number of threads, the fewest first.
    """

    seconds: Mapping[int, float]

    @property
    def threads(self) -> int:
        """The fewest threads that `LEAST_GAIN` does not tell from the fastest."""
        fastest = min(self.seconds.values())
        return min(count for count, took in self.seconds.items() if took < LEAST_GAIN * fastest)

    @property
    def words(self) -> str:
        """As a log or a state says it: "2 threads, 1.71x of 1", "1 thread (2 threads 0.94x)"."""
        fewest = min(self.seconds)
        if self.threads != fewest:
            return f"{_counted(self.threads)}, {self._gain(self.threads)} of {fewest}"
        others = "; ".join(f"{_counted(each)} {self._gain(each)}" for each in self.seconds if each != fewest)
        return f"{_counted(fewest)} ({others})" if others else _counted(fewest)

    def _gain(self, count: int) -> str:
        return f"{self.seconds[min(self.seconds)] / self.seconds[count]:.2f}x"


def offered(workers: int = 1) -> tuple[int, ...]:
    """Return the numbers of threads to try: 1, 2, 4, ... and all that each of `workers` may have here."""
    # Not every system tells which of its processors this process may use.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = max(1, cores // workers)
    return tuple(sorted({most, *(2**power for power in range(most.bit_length()) if 2**power <= most)}))


def asked(threads: int | None, backend: str, workers: int = 1) -> int | tuple[int, ...]:
    """Return what to build a network with: a person's own number, else what to choose from.

    Args:
        threads: None if nobody said a number.
        backend: only "auto" measures threads.
        workers: how many run the network at once.
    """
    if threads is not None:
        return threads
    return offered(workers) if backend == "auto" else 1


def choose_threads(
    run: Callable[[], object], counts: Sequence[int], *, limit_s: float = LIMIT_S
) -> ThreadChoice:
    """Time a run with each number of threads, in turn; torch is left at the last one tried in this thread.

    Args:
        run: what is timed, ready to run.
        counts: numbers of threads.
        limit_s: no further round begins when timing has taken so long.
    """
    times: dict[int, list[float]] = {count: [] for count in sorted(counts)}
    began = time.perf_counter()
    for turn in range(REPEATS):
        if turn >= _LEAST_REPEATS and time.perf_counter() - began > limit_s:
            break
        for count in times if turn % 2 else reversed(times):
            torch.set_num_threads(count)
            run()  # wakes the threads, which is not what a run costs
            started = time.perf_counter()
            run()
            times[count].append(time.perf_counter() - started)
    return ThreadChoice({count: min(each) for count, each in times.items()})


def _counted(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"
