"""Where a frame ends that the device finishes by itself: at the network's end, or at an exit in time for it.

Pure: what each exit takes is measured before the first frame, and followed by one factor, so that a device
that throttles is known to reach all of them later.
"""

from collections.abc import Sequence

from bus.errors import LocalProtocolError
from device.plan import Plan

_WEIGHT = 0.2
"""Of the latest run in how slow the device is at present; as in `patience.py`."""
_MARGIN = 1.15
"""A run takes some per cent more or less than is expected of it, and late is worse than shallow."""


class Finishing:
    """Knows what exits take, and chooses among them.

    Args:
        plan: with the exits that may answer.
        exit_s: seconds to each of these from the frame on, and to the end; empty where they are not known,
            and then all is finished at the end.

    Raises:
        LocalProtocolError: times of other exits.
    """

    def __init__(self, plan: Plan, exit_s: Sequence[float] = ()) -> None:
        if exit_s and len(exit_s) != len(plan.exits) + 1:
            raise LocalProtocolError(f"{len(exit_s)} times do not fit {len(plan.exits)} exits and the end")
        self._plan = plan
        self._exit_s = tuple(exit_s)
        self._slowness = 1.0

    def played(self, spent_s: float, exit_index: int | None = None) -> None:
        """Note what a run from the frame to an exit took, or to the end."""
        if self._exit_s:
            expected_s = self._exit_s[-1 if exit_index is None else exit_index]
            self._slowness += _WEIGHT * (spent_s / expected_s - self._slowness)

    def before(self, left_s: float) -> int | None:
        """Return the exit at which a frame is to end that is not begun yet; None is the end."""
        return self._deepest(left_s, 0.0, reached=0)

    def behind(self, arm: int, left_s: float, head_s: float) -> int | None:
        """Return the exit to answer at after the head of an arm; None is the end.

        Args:
            arm: the head that ran, and asked the exits on its way.
            left_s: seconds to the deadline.
            head_s: seconds that the head took.
        """
        return self._deepest(left_s, head_s, reached=self._plan.arms[arm].cut)

    def _deepest(self, left_s: float, head_s: float, *, reached: int) -> int | None:
        """Return the deepest that is there in time; where nothing is, the best answer, which is the end's."""
        if not self._exit_s or self._rest_s(-1, head_s) <= left_s:
            return None
        for number, each in reversed(tuple(enumerate(self._plan.exits))):
            passed = each.cut <= reached
            if (each.sure and left_s >= 0.0) if passed else (self._rest_s(number, head_s) <= left_s):
                return number
        return None

    def _rest_s(self, exit_index: int, head_s: float) -> float:
        return _MARGIN * max(0.0, self._slowness * self._exit_s[exit_index] - head_s)
