"""How long a device waits for what. One frozen value, so that a test or a person sees all of it at once."""

import math
from dataclasses import dataclass

from bus.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Limits:
    """Times of one device; milliseconds where a frame lives, seconds elsewhere.

    Attributes:
        deadline_ms: capture to answer, what is promised.
        fallback_at: part of the deadline after which the wait for an edge worker ends, so that finishing
            locally still has the rest of it.
        patience: the wait ends sooner, after so many times what finishing locally takes (`patience.py`); 0
            for no such end.
        look_ahead: the link is looked at shortly before a frame, where its moment is known (`look_ahead.py`).
        explored: share of the frames whose arm is drawn from all, with the likelihood in the feedback.
        frame_period_s: time between captures; 0 is a closed loop, the next when the last is answered.
        wait_edge_s: before the first frame only: how long to wait for an edge worker to announce itself.
        resend_s, resend_most_s: first and longest wait for an upload's acknowledgement, doubling.
        save_every_s: rows learnt are on the disk at most this much later.
        flush_s: at the end: how long the last upload may take.
        overloaded_tries: refusals as `overloaded` after which an upload is set aside like any refused one.
    """

    deadline_ms: float = 1000.0
    fallback_at: float = 0.7
    patience: float = 0.0
    look_ahead: bool = True
    explored: float = 0.0
    frame_period_s: float = 0.0
    wait_edge_s: float = 10.0
    resend_s: float = 1.0
    resend_most_s: float = 60.0
    save_every_s: float = 5.0
    flush_s: float = 5.0
    overloaded_tries: int = 5

    def __post_init__(self) -> None:
        if not 0.0 < self.deadline_ms <= 600_000.0:
            raise ConfigurationError(
                f"a deadline of {self.deadline_ms:g} ms will not do: give 1 to 600000 ms a frame"
            )
        if not 0.0 < self.fallback_at <= 1.0:
            raise ConfigurationError(
                f"the fallback may start after a part of the deadline in (0, 1], not {self.fallback_at:g}"
            )
        if not 0.0 <= self.patience < math.inf:
            raise ConfigurationError(
                f"a patience of {self.patience:g} will not do: give how many times what finishing here takes "
                "an answer is worth waiting for, such as 2, or 0 to wait for the deadline's sake only"
            )
        if not 0.0 <= self.explored <= 1.0:
            raise ConfigurationError(
                f"a share of {self.explored:g} cannot be explored: give 0 to 1, such as 0.05"
            )
        if min(self.frame_period_s, self.wait_edge_s, self.flush_s) < 0.0:
            raise ConfigurationError(
                "frame period, wait for an edge worker and flush time cannot be negative"
            )
        if not 0.0 < self.resend_s <= self.resend_most_s or self.save_every_s <= 0.0:
            raise ConfigurationError(
                "resend and save times must be positive, the longest wait not the shorter"
            )

    @property
    def wait_s(self) -> float:
        """Seconds after capture when the wait for an edge worker ends."""
        return self.deadline_ms * self.fallback_at / 1000.0

    def resend_after_s(self, attempts: int) -> float:
        """Seconds to wait for the acknowledgement of an upload that was sent `attempts` times before."""
        return min(self.resend_s * 2.0 ** min(attempts, 20), self.resend_most_s)
