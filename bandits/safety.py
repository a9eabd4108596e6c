"""A bound on what learning may cost a device, against keeping every frame to itself.

The device-only arm is safe: it asks nobody, and its cost is known after a few frames. Conservative bandits
(Kazerouni et al., "Conservative contextual linear bandits", 2017) play anything else only while the sum of
costs stays below (1 + share) times what the safe arm would have cost. Here the sum is a debt that is paid off
but never becomes credit, so the bound holds over every stretch of frames and not only from the beginning:

    allowed(arm):  debt + upper(arm) - (1 + share) safe <= frames x safe
    played:        debt <- max(0, debt + cost - (1 + share) safe)

With costs that stay below their upper bounds, the costs of any run of frames therefore sum to at most
(1 + share) times what the safe arm was believed to cost in them, and `frames` safe costs more.
"""

import math

from bandits.arrays import Dump


class Safety:
    """The debt of one device.

    Args:
        share: how much dearer than the safe arm a device may be for good.
        frames: how much dearer for once, in costs of the safe arm.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(self, share: float, frames: float) -> None:
        if not (0.0 <= share < math.inf and 0.0 < frames < math.inf):
            raise ValueError("the share of safety must be finite and not negative, its frames positive")
        self._share = share
        self._frames = frames
        self._debt_s = 0.0

    @property
    def debt_s(self) -> float:
        """What has been spent beyond (1 + share) times the safe arm, seconds."""
        return self._debt_s

    def allows(self, upper_s: float, safe_s: float) -> bool:
        """Whether an arm that costs at most `upper_s` may be played, where the safe one costs `safe_s`."""
        return self._debt_s + upper_s - (1.0 + self._share) * safe_s <= self._frames * safe_s

    def played(self, cost_s: float, safe_s: float) -> None:
        """Count a frame; `safe_s` is what the safe arm would have cost."""
        self._debt_s = max(0.0, self._debt_s + cost_s - (1.0 + self._share) * max(0.0, safe_s))

    def dump(self) -> Dump:
        """Return the debt."""
        return {"debt_s": self._debt_s}

    def load(self, state: Dump) -> None:
        """Take over what `dump` returned.

        Raises:
            ValueError: a debt that is negative or not finite.
        """
        debt_s = float(state["debt_s"])
        if not 0.0 <= debt_s < math.inf:
            raise ValueError(f"a debt of {debt_s} s is none")
        self._debt_s = debt_s
