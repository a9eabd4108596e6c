"""Two-sided CUSUM: has the mean of a standardised series moved?

Page, "Continuous Inspection Schemes", Biometrika 41, 1954. With z_t of mean 0 and deviation 1 while nothing
has changed:

    up   <- max(0, up   + z_t - k)
    down <- max(0, down - z_t - k)          alarm when either exceeds h

k is half the shift that is found fastest. Where z is normal, about (exp(2 k b) - 2 k b - 1) / (2 k^2) steps
lie between false alarms of one side, b = h + 1.166 (Siegmund, "Sequential Analysis", 1985). Each z is
clipped, so that one frame that was held up is no alarm.
"""

import math

from bandits.arrays import Dump


class Cusum:
    """The two sums.

    Args:
        slack: k, in deviations.
        threshold: h, in deviations.
        clip: largest |z| that counts; above `slack`, or nothing ever alarms.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(self, *, slack: float = 0.5, threshold: float = 8.0, clip: float = 3.0) -> None:
        if not (0.0 <= slack < clip and 0.0 < threshold < math.inf):
            raise ValueError(
                f"0 <= slack < clip and threshold > 0 expected, not {slack}, {clip}, {threshold}"
            )
        self._slack = slack
        self._threshold = threshold
        self._clip = clip
        self.reset()

    def reset(self) -> None:
        """Start anew."""
        self._up = self._down = 0.0

    def observe(self, z: float) -> bool:
        """Add one value and return whether it alarms."""
        z = min(max(z, -self._clip), self._clip)
        self._up = max(0.0, self._up + z - self._slack)
        self._down = max(0.0, self._down - z - self._slack)
        return max(self._up, self._down) > self._threshold

    def dump(self) -> Dump:
        """Return the sums."""
        return {"up": self._up, "down": self._down}

    def load(self, state: Dump) -> None:
        """Take over what `dump` returned.

        Raises:
            ValueError: a sum that is negative or not finite.
        """
        up, down = float(state["up"]), float(state["down"])
        if not (0.0 <= up < math.inf and 0.0 <= down < math.inf):
            raise ValueError(f"sums of {up} and {down}, expected finite numbers, not negative")
        self._up, self._down = up, down
