"""A seeded lossy channel in simulated time: drops, doubles, delays and so reorders. No clock, no sleeping."""

import heapq
from collections.abc import Iterator
from random import Random
from typing import Generic, TypeVar

T = TypeVar("T")


class Pump(Generic[T]):
    """Carries messages from `put` to `due`.

    Args:
        seed: of everything that goes wrong.
        drop, double: probability of each, for each message.
        delay_s: smallest and largest delay of a copy.
    """

    def __init__(
        self, seed: int, *, drop: float = 0.2, double: float = 0.2, delay_s: tuple[float, float] = (0.01, 0.5)
    ) -> None:
        self._random = Random(seed)
        self._drop = drop
        self._double = double
        self._delay_s = delay_s
        self._queue: list[tuple[float, int, T]] = []
        self._count = 0
        self.lossless = False

    def put(self, message: T, now: float) -> None:
        """Send one message, which arrives never, once or twice."""
        lost = self._random.random() < self._drop and not self.lossless
        copies = 0 if lost else 1 + (self._random.random() < self._double)
        for _ in range(copies):
            self._count += 1
            at = now + self._random.uniform(*self._delay_s)
            heapq.heappush(self._queue, (at, self._count, message))

    @property
    def next_at(self) -> float | None:
        """When the next message arrives."""
        return self._queue[0][0] if self._queue else None

    def due(self, now: float) -> Iterator[T]:
        """Take what has arrived by `now`."""
        while self._queue and self._queue[0][0] <= now:
            yield heapq.heappop(self._queue)[2]
