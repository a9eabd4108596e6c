"""In which order contestants play a frame, so that none profits from whom it follows.

A frame that floods the link leaves the next turn a slower one. Cyclic turns would give each contestant the
same predecessor nearly always; a Williams square (E. J. Williams, "Experimental designs balanced for the
estimation of residual effects of treatments", 1949) puts each right after each other equally often: its rows
for an even number, its rows and their mirror images for an odd one.
"""

from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Rotation(Generic[T]):
    """Orders by frame number.

    Args:
        names: the contestants.
    """

    def __init__(self, names: Sequence[T]) -> None:
        count = len(names)
        # 0, 1, n-1, 2, n-2, ...: all differences between neighbours occur once.
        first = [(half + 1) // 2 if half % 2 else -(half // 2) for half in range(count)]
        rows = [[names[(place + shift) % count] for place in first] for shift in range(count)]
        self._rows = rows if count % 2 == 0 else rows + [row[::-1] for row in rows]

    def __call__(self, seq: int) -> list[T]:
        """Return the order of frame `seq`; the caller may change the list."""
        return list(self._rows[seq % len(self._rows)])
