"""What an edge worker counts, and the metrics made of it. Bounded, whoever sends whatever."""

import math
from collections import deque
from typing import get_args

from bus.faults import Faults
from bus.messages import Reject

REASONS: tuple[Reject, ...] = get_args(Reject)
WINDOW = 256  # durations kept for percentiles


def percentile(values: deque[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed (nearest rank); 0.0 of none."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else 0.0


class Tally:
    """Counters since start, and the latest durations.

    Every request ends in exactly one of: answered, rejected, duplicates, unanswerable, or still held.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.answered = 0
        self.answered_late = 0
        self.duplicates = 0
        self.unanswerable = 0
        self.tail_failures = 0
        self.rejected: dict[Reject, int] = dict.fromkeys(REASONS, 0)
        self.faults = Faults()
        self._tails = 0
        self._frames = 0
        self._queue_ms: deque[float] = deque(maxlen=WINDOW)
        self._tail_ms: deque[float] = deque(maxlen=WINDOW)
        self._busy_ms: deque[float] = deque(maxlen=WINDOW)

    def batch(self, frames: int) -> None:
        """Count one run of a tail."""
        self._tails += 1
        self._frames += frames

    def tail(self, *, queue_ms: float, tail_ms: float, busy_ms: float) -> None:
        """Count one frame that a tail gave something for; `busy_ms` is its share of the worker's time."""
        self._queue_ms.append(queue_ms)
        self._tail_ms.append(tail_ms)
        self._busy_ms.append(busy_ms)

    def ended(self) -> int:
        """How many requests need nothing more."""
        return self.answered + sum(self.rejected.values()) + self.duplicates + self.unanswerable

    def speed(self, workers: int) -> float:
        """Frames a second that this many workers can answer, from the latest; 0.0 before the first."""
        busy_ms = sum(self._busy_ms)
        return round(1000.0 * workers * len(self._busy_ms) / busy_ms, 3) if busy_ms > 0.0 else 0.0

    def metrics(self, *, waiting: int, running: int) -> dict[str, float]:
        """Return the leaves of a metrics message."""
        return {
            "requests": self.requests,
            "answered": self.answered,
            "answered_late": self.answered_late,
            "duplicates": self.duplicates,
            "unanswerable": self.unanswerable,
            "tail_failures": self.tail_failures,
            **{f"rejected_{reason}": count for reason, count in self.rejected.items()},
            **self.faults.metrics(),
            "queue_depth": waiting,
            "running": running,
            "batch_mean": self._frames / self._tails if self._tails else 0.0,
            "queue_ms_p50": percentile(self._queue_ms, 0.5),
            "queue_ms_p95": percentile(self._queue_ms, 0.95),
            "tail_ms_p50": percentile(self._tail_ms, 0.5),
            "tail_ms_p95": percentile(self._tail_ms, 0.95),
        }
