"""How many times slower than its group believes one stage of a device is at present.

A device throttles when it is hot, and an edge worker computes for others too. Both make a whole stage slower
by one factor, so the logarithm m of that factor is the state of a scalar Kalman filter that returns to its
rest u, f frames a step:

    m <- u + k (m - u),  P <- k^2 P + f q^2,  k = exp(-f / memory)
    observation ln(measured / expected), with noise r^2 + (spread of what was expected / expected)^2
    u = min(0, running mean of m)

So a stage that was faster than the group believes stays so until it is seen again, as where early exits have
lied about it; one that was slower is tried again when that has faded.

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
        prior: standard deviation of the logarithm before the first measurement.
        usual_weight: least weight of a measurement in the running mean.

    Raises:
        ValueError: a setting out of range.
    """

    drift: float = 0.1
    noise: float = 0.15
    memory_frames: float = 50.0
    floor_s: float = 0.002
    prior: float = 0.5
    usual_weight: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what no filter can start from."""
        if not all(0.0 < value < math.inf for value in (self.noise, self.memory_frames, self.floor_s)):
            raise ValueError("noise, memory_frames and floor_s of a slowness must be finite and positive")
        if not all(0.0 <= value < math.inf for value in (self.drift, self.prior)):
            raise ValueError("drift and prior of a slowness must be finite, not negative")
        if not 0.0 <= self.usual_weight <= 1.0:
            raise ValueError("the usual_weight of a slowness must lie between 0 and 1")


DEFAULT = SlownessSettings()


class SlownessEstimate:
    """Mean and variance of the logarithm of one stage's factor."""

    def __init__(self, settings: SlownessSettings = DEFAULT) -> None:
        self._settings = settings
        self._log = 0.0
        self._variance = settings.prior**2
        self._usual = 0.0
        self._seen = 0.0

    @property
    def factor(self) -> float:
        """Times slower than usual; 1 is usual."""
        return math.exp(self._log)

    def pass_time(self, frames: float = 1.0) -> None:
        """Let what is known grow old."""
        keep = math.exp(-frames / self._settings.memory_frames)
        rest = min(self._usual, 0.0)
        self._log = rest + keep * (self._log - rest)
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
        self._seen += 1.0
        self._usual += max(1.0 / self._seen, self._settings.usual_weight) * (self._log - self._usual)

    def dump(self) -> Dump:
        """Return mean and variance, and what is usual after how many measurements."""
        return {"log": self._log, "variance": self._variance, "usual": self._usual, "seen": self._seen}

    def load(self, state: Dump) -> None:
        """Take over what `dump` returned.

        Raises:
            ValueError: not finite, or a negative variance.
        """
        log, variance = float(state["log"]), float(state["variance"])
        usual, seen = float(state.get("usual", 0.0)), float(state.get("seen", 0.0))  # not in states of 0.1
        if not (abs(log) <= _MOST and 0.0 <= variance < math.inf):
            raise ValueError(f"a slowness of logarithm {log} and variance {variance} is none")
        if not (abs(usual) <= _MOST and 0.0 <= seen < math.inf):
            raise ValueError(f"a slowness of usual logarithm {usual} after {seen} measurements is none")
        self._log, self._variance, self._usual, self._seen = log, variance, usual, seen
