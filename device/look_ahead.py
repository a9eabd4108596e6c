"""When to look at the link before a frame that is due: late enough to be news, early enough to be heard of.

A link that goes between two frames is found out by the second one, which waits for an answer in vain. Where
the moment of the next frame is known (a frame rate, or a source that tells), a link check that leaves shortly
before it finds most of these out at no frame's cost (ADR 27). This file must never know what a check says.
"""

from device.link_checks import LinkChecks

# Of the time ahead: a look that begins later than that hears of nothing before its frame.
_TOO_LATE = 0.25


class LookAhead:
    """The moments to look at of one device.

    Args:
        checks: say for how long ahead, and begin them.
        wanted: whether to look at all.
    """

    def __init__(self, checks: LinkChecks, *, wanted: bool) -> None:
        self._checks = checks
        self._wanted = wanted
        self._due_at: float | None = None
        self._answered = False

    def expect(self, due_at: float) -> None:
        """Note when the next frame will be captured; seconds, monotonic."""
        self._due_at = due_at

    def captured(self) -> None:
        """Note that it has been: nobody knows of the one behind it."""
        self._due_at = None

    def answered(self, *, by_edge: bool) -> None:
        """Note who has answered a frame; one that no edge worker has is followed by a check anyway."""
        self._answered = by_edge

    @property
    def at(self) -> float | None:
        """When to look; None where nobody knows of a frame, or there is nothing to be seen."""
        if not self._wanted or self._due_at is None or not self._answered:
            return None
        ahead_s = self._checks.ahead_s
        return self._due_at - ahead_s if ahead_s > 0.0 else None

    def begin(self, now: float) -> int:
        """Return the number of the link check that begins; 0 where it is not time, or too late."""
        at, due_at = self.at, self._due_at
        if at is None or due_at is None or now < at:
            return 0
        self._due_at = None
        if now - at > _TOO_LATE * (due_at - at):
            return 0
        return self._checks.begin(now, ahead=True)
