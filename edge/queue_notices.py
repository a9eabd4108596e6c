"""How long a job would wait that came now, and when telling the devices is worth a message.

A device that knows it decides well; one that only learns it from its own answers comes too late, and all of
them together fill the queue until offloading is no better than staying (ADR 29). A notice names a moment at
which a worker is free; between two of them every listener counts down by itself, so one is due only when that
moment has moved. Nothing is told while one device asks: it waits for nobody. Each notice goes to every
device, so there are fewer of them the more devices there are.

Times of tails are the means of what they took here, by frame.
"""

from collections.abc import Iterable

from edge.batching import Tail

LISTENED_S = 10.0
"""A device that has asked within so long listens."""
_EACH_S = 0.002
"""Shortest time between two notices, for each listener: at most 500 deliveries a second."""
_LEAST_S = 0.005
_SHARE = 0.1
"""A moment that moved by less than both, the share being of the wait, is not told."""
_GAIN = 0.2
# Whoever asks for tails of his own making pushes out nobody's: the oldest goes.
_MOST_TAILS, _MOST_DEVICES = 1024, 4096


class QueueNotices:
    """Decides what is told.

    Args:
        workers: tails that run at a time.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._mean_s: dict[Tail, float] = {}
        self._any_s = 0.0  # of all tails together: what is expected of one that has never run
        self._asked: dict[str, float] = {}
        self._told_at = -LISTENED_S
        self._free_at = 0.0  # as listeners believe
        self._untold = False

    def asked(self, device: str, now: float) -> None:
        """Note that a device is there."""
        self._asked.pop(device, None)
        self._asked[device] = now
        if len(self._asked) > _MOST_DEVICES:
            del self._asked[next(iter(self._asked))]

    def ran(self, tail: Tail, seconds: float) -> None:
        """Learn what a frame of a tail has taken a worker."""
        mean_s = self._mean_s.pop(tail, seconds)
        self._mean_s[tail] = mean_s + _GAIN * (seconds - mean_s)
        self._any_s += (_GAIN if self._any_s else 1.0) * (seconds - self._any_s)
        if len(self._mean_s) > _MOST_TAILS:
            del self._mean_s[next(iter(self._mean_s))]

    def free_s(
        self, running: Iterable[tuple[Tail, int, float]], waiting: Iterable[Tail], now: float
    ) -> float:
        """Return for how long a job would wait that came now.

        Args:
            running: tail, frames and beginning of what each busy worker runs.
            waiting: tails of the jobs in line.
            now: of the same clock.
        """
        left = [max(0.0, began + frames * self._expected_s(tail) - now) for tail, frames, began in running]
        if len(left) < self._workers:
            return 0.0
        line_s = sum(map(self._expected_s, waiting)) / self._workers
        return min(left) + line_s

    def due_s(self) -> float | None:
        """When to look again; None while nothing is held back."""
        return self._told_at + self._shortest_s() if self._untold else None

    def worth(self, free_s: float, now: float) -> bool:
        """Whether it is to be told now that a job would wait so long; it then counts as told."""
        self._forget(now)
        believed_s = max(0.0, self._free_at - now)
        off_s = abs(free_s - believed_s)
        moved = off_s > _LEAST_S and off_s > _SHARE * max(free_s, believed_s)
        self._untold = moved and len(self._asked) > 1
        if not self._untold or now < self._told_at + self._shortest_s():
            return False
        self._told_at, self._free_at, self._untold = now, now + free_s, False
        return True

    def _expected_s(self, tail: Tail) -> float:
        return self._mean_s.get(tail, self._any_s)

    def _shortest_s(self) -> float:
        return _EACH_S * len(self._asked)

    def _forget(self, now: float) -> None:
        while self._asked and (oldest := next(iter(self._asked))) and self._asked[oldest] < now - LISTENED_S:
            del self._asked[oldest]
