"""The rows of the latest frames, for learners that must take rows out again."""

from collections import deque

import numpy as np

from bandits.arrays import Dump, Matrix, Vector, require_finite
from bandits.statistics import Statistics

Frame = tuple[Matrix, Vector]
"""Rows (m, d) of one frame and their costs (m,)."""


class RecentFrames:
    """At most `most` frames, the oldest dropped first.

    Args:
        dimension: d.
        most: how many; 0 keeps none.

    Raises:
        ValueError: `most` is negative.
    """

    def __init__(self, dimension: int, most: int) -> None:
        if most < 0:
            raise ValueError(f"{most} frames cannot be kept")
        self._dimension = dimension
        self._most = most
        self._frames: deque[Frame] = deque()

    def append(self, frame: Frame) -> Frame | None:
        """Add a frame and return the one that it displaces."""
        self._frames.append(frame)
        return self._frames.popleft() if len(self._frames) > self._most else None

    def on(self, ridge: Statistics) -> Statistics:
        """Return `ridge` and all rows kept."""
        if not self._frames:
            return ridge
        X, y = zip(*self._frames, strict=True)
        return ridge.add_rows(np.vstack(X), np.concatenate(y))

    def dump(self) -> list[Dump]:
        """Return the frames, oldest first."""
        return [{"rows": X, "costs": y} for X, y in self._frames]

    def load(self, state: list[Dump]) -> None:
        """Take over the latest of what `dump` returned.

        Raises:
            ValueError: rows of another shape, NaN or infinity; nothing changes.
        """
        frames = []
        for frame in state[max(0, len(state) - self._most) :]:
            X = require_finite(frame["rows"], (None, self._dimension), "rows")
            frames.append((X, require_finite(frame["costs"], (X.shape[0],), "costs")))
        self._frames = deque(frames)
