"""A token bucket: how often something may be done that a stranger can provoke."""


class Throttle:
    """Allows `burst` at once and `per_s` a second for ever.

    Args:
        per_s: tokens gained a second.
        burst: most tokens held, full at the start.
    """

    def __init__(self, per_s: float = 10.0, burst: int = 20) -> None:
        self._per_s = per_s
        self._burst = burst
        self._tokens = float(burst)
        self._filled_s: float | None = None

    def allow(self, now: float) -> bool:
        """Take a token if there is one.

        Args:
            now: seconds, monotonic.
        """
        if self._filled_s is not None:
            self._tokens = min(self._burst, self._tokens + self._per_s * (now - self._filled_s))
        self._filled_s = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
