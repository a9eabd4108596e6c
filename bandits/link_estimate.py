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

from bandits.arrays import Dump, Vector, require_finite


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
    drift_round_trip: float = 0.2
    drift_unit: float = 0.2
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
_TOLD = 0.5
"""Of the spread that is believed at first, relative to the mean: below it a rate counts as known."""
_OUT = 3.0
"""Times a usual round trip."""


class LinkEstimate:
    """Mean and spread of the link's time for any amount sent.

    Two numbers and their covariance are kept as plain floats: on arrays of two, numpy's overhead is the cost.
    """

    def __init__(self, settings: LinkSettings = DEFAULT) -> None:
        self._settings = settings
        self._r, self._s = settings.round_trip_s, settings.unit_s
        self._least_r, self._least_s = 0.01 * self._r, 0.01 * self._s
        self._rr, self._rs, self._ss = (settings.prior * self._r) ** 2, 0.0, (settings.prior * self._s) ** 2
        self._usual_r, self._usual_s = self._r, self._s
        self._seen = 1.0
        self._unit_told = False

    @property
    def unit_unknown(self) -> bool:
        """Whether transfers, at least one, were too alike to tell a round trip from a rate so far."""
        return self._seen > 1.0 and not self._unit_told

    @property
    def mean(self) -> Vector:
        """Round trip in seconds, and seconds a unit."""
        return np.array([self._r, self._s])

    def expected_s(self, units: float) -> float:
        """Return what a transfer of `units` is expected to take, seconds."""
        return self._r + self._s * units

    @property
    def out(self) -> bool:
        """Whether a round trip is believed to take several times what is usual: nothing to try out now."""
        return self._r > _OUT * self._usual_r

    def predict(self, units: Vector) -> tuple[Vector, Vector]:
        """Return expected seconds and their standard deviation for transfers of `units` (K,)."""
        variance = self._rr + units * (2.0 * self._rs + units * self._ss)
        return self._r + self._s * units, np.sqrt(np.maximum(variance, 0.0))

    def pass_time(self, frames: float = 1.0) -> None:
        """Let what is known grow old."""
        settings = self._settings
        keep = math.exp(-frames / settings.memory_frames)
        self._r = self._usual_r + keep * (self._r - self._usual_r)
        self._s = self._usual_s + keep * (self._s - self._usual_s)
        self._rr = keep * keep * self._rr + frames * (settings.drift_round_trip * self._r) ** 2
        self._rs *= keep * keep
        self._ss = keep * keep * self._ss + frames * (settings.drift_unit * self._s) ** 2
        self._bound()

    def observe(self, units: float, seconds: float) -> None:
        """Learn from one transfer.

        Raises:
            ValueError: not finite or negative.
        """
        self._learn(units, seconds)
        if not self._unit_told and self._tells_unit():
            # What was usual until now was mostly a guess.
            self._unit_told, self._seen = True, 1.0
            self._usual_r, self._usual_s = self._r, self._s
        self._note_usual()
        self._bound()

    def _tells_unit(self) -> bool:
        return self._ss < (_TOLD * self._settings.prior * self._s) ** 2

    def _learn(self, units: float, seconds: float) -> None:
        if not (0.0 <= units < math.inf and 0.0 <= seconds < math.inf):
            raise ValueError(f"a transfer of {units} units in {seconds} s is none")
        settings = self._settings
        expected_s = self.expected_s(units)
        # What holds a transfer up only ever lengthens it, so one that was fast is hardly noise.
        noise = settings.floor_s + settings.noise * min(expected_s, seconds)
        spread_r, spread_s = self._rr + units * self._rs, self._rs + units * self._ss
        variance = spread_r + units * spread_s + noise * noise
        gain_r, gain_s = spread_r / variance, spread_s / variance
        self._r = max(self._r + gain_r * (seconds - expected_s), self._least_r)
        self._s = max(self._s + gain_s * (seconds - expected_s), self._least_s)
        self._rr -= gain_r * spread_r
        self._rs -= gain_r * spread_s
        self._ss -= gain_s * spread_s

    def observe_at_least(self, units: float, seconds: float) -> None:
        """Learn that a transfer takes so long or longer; one that was believed to is no news.

        It says nothing of what is usual: in an outage there is a bound a frame and no transfer.

        Raises:
            ValueError: not finite or negative.
        """
        if not seconds <= self.expected_s(units):
            self._learn(units, seconds)
            self._bound()

    def doubt(self) -> None:
        """Take what is known for no more than a guess: something has happened to the link."""
        prior = self._settings.prior
        self._rr, self._rs, self._ss = (prior * self._r) ** 2, 0.0, (prior * self._s) ** 2

    def suspect(self, units: float, seconds: float) -> None:
        """Learn from a small transfer that took several times what was expected: something has happened.

        Round trip or rate, and it does not say which: half of what it took too long is laid to each. A filter
        would lay nearly all to the round trip, by which small transfers go, and miss a rate that has fallen.

        Raises:
            ValueError: no units, or a time that is not finite or negative.
        """
        if not (0.0 < units < math.inf and 0.0 <= seconds < math.inf):
            raise ValueError(f"a transfer of {units} units in {seconds} s is none")
        more_s = max(0.0, seconds - self.expected_s(units))
        self._r += 0.5 * more_s
        self._s += 0.5 * more_s / units
        self.doubt()
        self._bound()

    def _note_usual(self) -> None:
        """Count the present mean among what is usual."""
        self._seen += 1.0
        weight = max(1.0 / self._seen, self._settings.usual_weight)
        self._usual_r *= (self._r / self._usual_r) ** weight
        self._usual_s *= (self._s / self._usual_s) ** weight

    def _bound(self) -> None:
        """Keep what is known no wider than not knowing, relative to the present mean."""
        prior = self._settings.prior
        shrink_r = min(1.0, prior * max(self._r, self._least_r) / math.sqrt(max(self._rr, 1e-18)))
        shrink_s = min(1.0, prior * max(self._s, self._least_s) / math.sqrt(max(self._ss, 1e-18)))
        self._rr *= shrink_r * shrink_r
        self._rs *= shrink_r * shrink_s
        self._ss *= shrink_s * shrink_s

    def dump(self) -> Dump:
        """Return mean, covariance and what is usual."""
        return {
            "mean": self.mean,
            "covariance": np.array([[self._rr, self._rs], [self._rs, self._ss]]),
            "usual": np.array([self._usual_r, self._usual_s]),
            "seen": self._seen,
        }

    def load(self, state: Dump) -> None:
        """Take over what `dump` returned.

        Raises:
            ValueError: another shape, NaN or infinity.
        """
        mean = require_finite(state["mean"], (2,), "mean").tolist()
        covariance = require_finite(state["covariance"], (2, 2), "covariance").tolist()
        usual = require_finite(state["usual"], (2,), "usual").tolist()
        self._seen = max(1.0, float(state["seen"]))
        self._r, self._s = max(mean[0], self._least_r), max(mean[1], self._least_s)
        (self._rr, self._rs), (_, self._ss) = covariance
        self._usual_r, self._usual_s = max(usual[0], self._least_r), max(usual[1], self._least_s)
        self._unit_told = self._tells_unit()
        self._bound()
