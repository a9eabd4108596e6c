"""How the link does while nothing is offloaded: the time until the broker acknowledges a frame's feedback.

A frame that no edge worker answered teaches nothing of the link, and the next one that is offloaded to find
out may wait in vain. Its feedback is published anyway, so it goes out at QoS 1 and its acknowledgement is
timed: a *link check*. One is on its way at a time; whoever wants to know is told how long it took, and before
each frame how long it has been taking. Over a link that lives but carries little, such a message takes hardly
more than a round trip; so while nobody has answered since an answer was waited for in vain, it is padded.
A link that goes between two frames is found out by the second one, which waits for an answer in vain. So
where the moment of the next frame is known, a padded check leaves shortly before it: a *look ahead* (ADR 27).
This file must never know what a policy makes of it.
"""

from collections.abc import Sequence

from bandits.policy import LinkCheck, Policy, heeds_link_checks
from device.plan import Plan

CHECK_BYTES = 600
"""Of a feedback message on its way, with topic, properties and the headers of TCP and IP: near enough."""
LONG_CHECK_BYTES = 2000
"""Of a padded one: what tells a link of 0.05 Mbit/s from a good one by a third of a second."""
PADDED_BYTES = LONG_CHECK_BYTES - 100
"""Of its payload."""


class LinkChecks:
    """The link checks of one device.

    Attributes:
        done: checks that were acknowledged.
        latest_s: what the latest of them took; 0 before the first.
        padded: whether the one on its way is a long one.

    Args:
        plan: says how long a message is in units of the link's column.
        policies: those that play; none is told where nobody heeds or the plan does not say.
    """

    def __init__(self, plan: Plan, policies: Sequence[Policy]) -> None:
        self.done = 0
        self.latest_s = 0.0
        self.padded = False
        elements = 0 if plan.columns is None else plan.columns.input_elements
        self._per_byte = 1.0 / elements if elements else 0.0
        self._heeding = [policy for policy in policies if heeds_link_checks(policy)]
        self._last = 0
        self._open: tuple[int, float] | None = None  # number, and since when

    @property
    def ahead_s(self) -> float:
        """For how long before a frame a look ahead leaves; 0 where there is none to be."""
        if self._open is not None or not self._heeding or not self._per_byte:
            return 0.0
        units = self._per_byte * LONG_CHECK_BYTES
        return max(policy.ahead_s(units) for policy in self._heeding)

    def begin(self, now: float, *, ahead: bool = False) -> int:
        """Return the number of a check that begins now; 0 if one is on its way or nobody wants to know.

        Args:
            now: seconds, monotonic.
            ahead: before a frame, and not behind one.
        """
        if self._open is not None or not self._heeding or not self._per_byte:
            return 0
        self.padded = ahead or any(policy.wants_long_checks for policy in self._heeding)
        self._last += 1
        self._open = (self._last, now)
        return self._last

    def ended(self, number: int, seconds: float) -> None:
        """Tell what a check took; one that is not on its way any more says nothing."""
        if self._open is None or self._open[0] != number:
            return
        self._open = None
        self.done += 1
        self.latest_s = seconds
        self._tell(LinkCheck(self._units, seconds))

    def failed(self, number: int) -> None:
        """Forget a check that could not be sent, or nobody knows."""
        if self._open is not None and self._open[0] == number:
            self._open = None

    def look(self, now: float) -> None:
        """Tell for how long the check on its way has been taking, if there is one."""
        if self._open is not None:
            self._tell(LinkCheck(self._units, max(0.0, now - self._open[1]), at_least=True))

    @property
    def _units(self) -> float:
        return self._per_byte * (LONG_CHECK_BYTES if self.padded else CHECK_BYTES)

    def _tell(self, check: LinkCheck) -> None:
        for policy in self._heeding:
            policy.link_checked(check)
