"""How long to wait before the next attempt to connect.

Doubling with jitter: after a broker restarts, a site's devices must not come back in step. The jitter is
"equal": half of each delay is kept and half is drawn, so the first attempt is never immediate.
This file must never sleep nor read a clock; the caller hands in time and randomness.
"""

from collections.abc import Callable


class Backoff:
    """Delays between attempts, forgotten once a link has lasted.

    Args:
        random: draws from [0, 1).
        first_s: upper end of the first delay, seconds.
        cap_s: upper end of all delays, seconds.
        settled_s: a link that lasted this long starts the delays anew. A link that is cut at once
            (two clients with one id, each taking over from the other) must not.
    """

    def __init__(
        self,
        random: Callable[[], float],
        *,
        first_s: float = 0.2,
        cap_s: float = 15.0,
        settled_s: float = 5.0,
    ) -> None:
        self._random = random
        self._first_s = first_s
        self._cap_s = cap_s
        self._settled_s = settled_s
        self._next_s = first_s

    def delay_s(self) -> float:
        """Return the next delay in seconds: from half of its upper end up to it."""
        upper = self._next_s
        self._next_s = min(upper * 2.0, self._cap_s)
        return upper * (0.5 + 0.5 * self._random())

    def link_lasted(self, duration_s: float) -> None:
        """Tell how long the link was up before it ended."""
        if duration_s >= self._settled_s:
            self._next_s = self._first_s
