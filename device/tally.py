"""What has become of the frames of one policy. Counts only; every turn ends in exactly one of them."""

from collections import deque
from dataclasses import dataclass, field

from bus.messages import AnsweredBy

LATENCIES_KEPT = 100_000


@dataclass(slots=True)
class Tally:
    """One policy's frames so far.

    Attributes:
        sent: frames captured for this policy, whatever became of them.
        answered: with an answer, by whom it came.
        rejected: without one, by reason.
        masked: answered on the device because nobody could be asked, whatever the policy had chosen.
        payload_bytes: of requests published.
        total_ms: capture to answer, one number an answer, in order; the latest `LATENCIES_KEPT`, the oldest
            go first, so that a device that runs for months does not grow.
        deadlines_met: answers within the deadline.
        exits_sure: answers of exits that were sure.
        exits_forced: answers of exits that were not, for the deadline's sake.
    """

    sent: int = 0
    answered: dict[AnsweredBy, int] = field(default_factory=lambda: {"device": 0, "edge": 0, "fallback": 0})
    rejected: dict[str, int] = field(default_factory=dict)
    masked: int = 0
    payload_bytes: int = 0
    total_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    deadlines_met: int = 0
    exits_sure: int = 0
    exits_forced: int = 0

    @property
    def answers(self) -> int:
        """How many were answered."""
        return sum(self.answered.values())

    @property
    def rejections(self) -> int:
        """How many were rejected."""
        return sum(self.rejected.values())

    def reject(self, reason: str) -> None:
        """Count one rejection."""
        self.rejected[reason] = self.rejected.get(reason, 0) + 1
