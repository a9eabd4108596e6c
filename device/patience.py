"""How long an answer is worth waiting for: a multiple of what finishing by itself takes the device.

A device that waits until its deadline nearly runs out pays most of it whenever the link is gone, though it
could have finished long before. When finishing takes f and nothing is known of the answer, a wait of f costs
at most twice what knowing would have cost (ski rental; Karlin et al. 1988). A usual answer is known to be
near, so a longer wait pays: ADR 17 has the measurement.
"""

import math

_WEIGHT = 0.2
"""Of the latest frame in what the whole network takes: a device that throttles is followed in some frames."""


class Patience:
    """Follows what the whole network takes on this device.

    Args:
        times: how many times finishing is waited for an answer; 0 for as long as the deadline lets.

    Raises:
        ValueError: a negative multiple, or one that is not finite.
    """

    def __init__(self, times: float) -> None:
        if not 0.0 <= times < math.inf:
            raise ValueError(f"a patience of {times} times finishing is none")
        self._times = times
        self._whole_s: float | None = None

    def played(self, whole_s: float) -> None:
        """Note what the whole network took, seconds: a frame that no edge worker had a part in."""
        if self._whole_s is None:
            self._whole_s = whole_s
        self._whole_s += _WEIGHT * (whole_s - self._whole_s)

    def wait_s(self, head_s: float) -> float:
        """Return how long to wait after a head that took `head_s`; infinite while nothing is known."""
        if self._whole_s is None or self._times == 0.0:
            return math.inf
        return self._times * max(0.0, self._whole_s - head_s)
