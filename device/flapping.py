"""Whether two devices share one id: on MQTT 3.1.1 the broker closes the older connection without a word.

Each then reconnects and throws the other out, so both lose their connection again and again right after
it stood. MQTT 5 says it outright (reason code 0x8E, "session taken over").
"""

# A broker that restarts, or a link that breaks, does not end five connections in a row within seconds each.
QUICK_S = 3.0
LOSSES = 5


class Flapping:
    """Counts losses right after connecting, in a row."""

    def __init__(self) -> None:
        self._up_at: float | None = None
        self._losses = 0

    def came_up(self, now: float) -> None:
        """A connection stands."""
        self._up_at = now

    def went_down(self, now: float) -> bool:
        """A connection was lost; True if that looks like two clients with one id."""
        if self._up_at is not None:  # else an attempt to connect again has failed, which says nothing
            self._losses = self._losses + 1 if now - self._up_at < QUICK_S else 0
        self._up_at = None
        return self._losses >= LOSSES
