"""What one device believes of its own link, from the transfers it makes anyway.

A transfer of u units (of the context's link column) takes r + s u seconds: r a round trip with all that is
fixed, s seconds a unit. Both wander around what is usual for this link, as a mobile link's rate does, so they
are the state m of a Kalman filter (Kalman 1960) with an autoregressive process, f frames a step:

    m <- usual + k (m - usual),  P <- k^2 P + f diag(q_r r, q_s s)^2,  k = exp(-f / memory)
    observation r + s u, with noise floor + noise (r + s u)

What is usual is the running geometric mean of m. So an outage is believed while it lasts, and soon after it
is not believed any more: a device that was driven off the link comes back by itself. Noise is relative to the
present size, since links differ by orders of magnitude. Nothing of this leaves the device: theta is shared by
devices whose links are not.
"""

import math
from dataclasses import dataclass

import numpy as np

from bandits.arrays import Dump, Matrix, Vector, require_finite


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Switches of the estimate.

    Attributes:
        round_trip_s, unit_s: what is believed before the first transfer.
        prior: standard deviation of both at first, relative to them, and its largest ever.
        memory_frames: frames after which a deviation from what is usual has faded to 1 / e.
        usual_weight: least weight of a transfer in what is usual.
        drift_round_trip, drift_unit: relative standard deviation that a frame adds.
        noise: of a transfer, relative. floor_s: of a transfer, absolute.

    Raises:
        ValueError: a setting out of range.
    """

    round_trip_s: float = 0.02
    unit_s: float = 0.15
    prior: float = 1.0
    memory_frames: float = 10.0
    usual_weight: float = 0.02
    drift_round_trip: float = 0.1
    drift_unit: float = 0.1
    noise: float = 0.2
    floor_s: float = 0.002

    def __post_init__(self) -> None:
        """Refuse what no filter can start from."""
        positive = (self.round_trip_s, self.unit_s, self.prior, self.noise, self.floor_s, self.memory_frames)
        drifts = (self.drift_round_trip, self.drift_unit)
        fits = all(0.0 < value < math.inf for value in positive) and all(0.0 <= d < math.inf for d in drifts)
        if not fits or not 0.0 <= self.usual_weight <= 1.0:
            raise ValueError("settings of a link's estimate must be finite and positive, drifts not negative")


DEFAULT = LinkSettings()


class LinkEstimate:
    """Mean and spread of the link's time for any amount sent."""

    def __init__(self, settings: LinkSettings = DEFAULT) -> None:
        self._settings = settings
        self._mean = np.array([settings.round_trip_s, settings.unit_s])
        self._least = 0.01 * self._mean
        self._covariance = np.diag((settings.prior * self._mean) ** 2)
        self._usual = self._mean.copy()
        self._seen = 1.0

    @property
    def mean(self) -> Vector:
        """Round trip in seconds, and seconds a unit."""
        return self._mean.copy()

    def predict(self, units: Vector) -> tuple[Vector, Vector]:
        """Return expected seconds and their standard deviation for transfers of `units` (K,)."""
        r, s = self._mean
        (rr, rs), (_, ss) = self._covariance
        variance = rr + units * (2.0 * rs + units * ss)
        return r + s * units, np.sqrt(np.maximum(variance, 0.0))

    def pass_time(self, frames: float = 1.0) -> None:
        """Let what is known grow old."""
        settings = self._settings
        drift = np.array([settings.drift_round_trip, settings.drift_unit])
        keep = math.exp(-frames / settings.memory_frames)
        self._mean = self._usual + keep * (self._mean - self._usual)
        self._covariance = keep * keep * self._covariance + np.diag(frames * (drift * self._mean) ** 2)
        self._bound()

    def observe(self, units: float, seconds: float) -> None:
        """Learn from one transfer.

        Raises:
            ValueError: not finite or negative.
        """
        if not (0.0 <= units < math.inf and 0.0 <= seconds < math.inf):
            raise ValueError(f"a transfer of {units} units in {seconds} s is none")
        settings = self._settings
        h = np.array([1.0, units])
        expected = float(h @ self._mean)
        # What holds a transfer up only ever lengthens it, so one that was fast is hardly noise.
        noise = settings.floor_s + settings.noise * min(expected, seconds)
        spread = self._covariance @ h
        gain = spread / (float(h @ spread) + noise * noise)
        self._mean = np.maximum(self._mean + gain * (seconds - expected), self._least)
        self._covariance = self._covariance - np.outer(gain, spread)
        self._seen += 1.0
        weight = max(1.0 / self._seen, settings.usual_weight)
        self._usual = np.exp((1.0 - weight) * np.log(self._usual) + weight * np.log(self._mean))
        self._bound()

    def observe_at_least(self, units: float, seconds: float) -> None:
        """Learn that a transfer takes so long or longer; one that was believed to is no news.

        Raises:
            ValueError: not finite or negative.
        """
        if not seconds <= float(self._mean @ (1.0, units)):
            self.observe(units, seconds)

    def _bound(self) -> None:
        """Keep the covariance symmetric, and no wider than not knowing, relative to the present mean."""
        most = self._settings.prior * np.maximum(self._mean, self._least)
        deviations = np.sqrt(np.maximum(self._covariance.diagonal(), 1e-18))
        shrink = np.minimum(1.0, most / deviations)
        bounded: Matrix = self._covariance * np.outer(shrink, shrink)
        self._covariance = 0.5 * (bounded + bounded.T)

    def dump(self) -> Dump:
        """Return mean, covariance and what is usual."""
        return {
            "mean": self._mean.copy(),
            "covariance": self._covariance.copy(),
            "usual": self._usual.copy(),
            "seen": self._seen,
        }

    def load(self, state: Dump) -> None:
        """Take over what `dump` returned.

        Raises:
            ValueError: another shape, NaN or infinity.
        """
        mean = require_finite(state["mean"], (2,), "mean")
        covariance = require_finite(state["covariance"], (2, 2), "covariance")
        usual = require_finite(state["usual"], (2,), "usual")
        self._seen = max(1.0, float(state["seen"]))
        self._mean, self._covariance = np.maximum(mean, self._least), covariance.copy()
        self._usual = np.maximum(usual, self._least)
        self._bound()
