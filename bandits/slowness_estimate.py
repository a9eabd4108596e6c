"""How many times slower than its group believes one stage of a device is at present.

A device throttles when it is hot, and an edge worker computes for others too. Both make a whole stage slower
by one factor, so the logarithm m of that factor is the state of a scalar Kalman filter that returns to 0, f
frames a step:

    m <- k m,  P <- k^2 P + f q^2,  k = exp(-f / memory)
    observation ln(measured / expected), with noise r^2 + (spread of what was expected / expected)^2

Theta is taught measured / exp(m), so it keeps saying what is usual for the type; what is particular to one
device or one hour stays on the device, and one frame corrects the prediction of every arm.
"""

import math
from dataclasses import dataclass

from bandits.arrays import Dump

_MOST = math.log(50.0)


@dataclass(frozen=True, slots=True)
class SlownessSettings:
    """Switches of the estimate.

    Attributes:
        drift: q, standard deviation that a frame adds to the logarithm.
        noise: r, standard deviation of one measurement's logarithm, misfit of the linear model included.
        memory_frames: frames after which a deviation that is not seen any more has faded to 1 / e.
        floor_s: what measurements below it say little about, seconds.

    Raises:
        ValueError: a setting out of range.
    """

    drift: float = 0.1
    noise: float = 0.15
    memory_frames: float = 50.0
    floor_s: float = 0.002

    def __post_init__(self) -> None:
        """Refuse what no filter can start from."""
        if not all(0.0 < value < math.inf for value in (self.noise, self.memory_frames, self.floor_s)):
            raise ValueError("noise, memory_frames and floor_s of a slowness must be finite and positive")
        if not 0.0 <= self.drift < math.inf:
            raise ValueError("the drift of a slowness must be finite, not negative")


DEFAULT = SlownessSettings()


class SlownessEstimate:
    """Mean and variance of the logarithm of one stage's factor."""

    def __init__(self, settings: SlownessSettings = DEFAULT) -> None:
        self._settings = settings
        self._log = 0.0
        self._variance = 0.0

    @property
    def factor(self) -> float:
        """Times slower than usual; 1 is usual."""
        return math.exp(self._log)

    def pass_time(self, frames: float = 1.0) -> None:
        """Let what is known grow old."""
        keep = math.exp(-frames / self._settings.memory_frames)
        self._log *= keep
        self._variance = keep * keep * self._variance + frames * self._settings.drift**2

    def observe(self, measured_s: float, expected_s: float, spread_s: float) -> None:
        """Learn from one run of the stage.

        Args:
            measured_s: what it took, seconds.
            expected_s: what it usually takes, for this factor at 1.
            spread_s: standard deviation of that.

        Raises:
            ValueError: a duration that is negative or not finite.
        """
        if not (0.0 <= measured_s < math.inf and 0.0 <= spread_s < math.inf and math.isfinite(expected_s)):
            raise ValueError(f"a stage of {measured_s} s, expected {expected_s} s, says nothing")
        floor_s = self._settings.floor_s
        if expected_s <= floor_s:
            return
        relative = (floor_s + spread_s) / expected_s
        noise = self._settings.noise**2 + relative * relative
        gain = self._variance / (self._variance + noise)
        seen = math.log(max(measured_s, floor_s) / expected_s)
        self._log += gain * (min(max(seen, -_MOST), _MOST) - self._log)
        self._variance *= 1.0 - gain

    def dump(self) -> Dump:
        """Return mean and variance."""
        return {"log": self._log, "variance": self._variance}

    def load(self, state: Dump) -> None:
        """Take over what `dump` returned.

        Raises:
            ValueError: not finite, or a negative variance.
        """
        log, variance = float(state["log"]), float(state["variance"])
        if not (abs(log) <= _MOST and 0.0 <= variance < math.inf):
            raise ValueError(f"a slowness of logarithm {log} and variance {variance} is none")
        self._log, self._variance = log, variance
