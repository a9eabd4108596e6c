"""Epsilon-greedy, a rival: the arm of the best running mean, or now and then any arm.

Sutton & Barto, "Reinforcement Learning", 2nd edition, section 2.4, minimising. The step size has a floor, so
that it follows a link that moves (section 2.5), and epsilon falls as 1 / n to a floor, which suits it better
than a constant.
"""

import numpy as np

from bandits.arrays import Dump, Matrix, require_finite
from bandits.policy import Cost


class EpsilonGreedy:
    """One device's means.

    Args:
        arms: K.
        random: the only randomness it has.
        epsilon: floor of the share of frames that explore.
        opening_frames: after so many frames epsilon has fallen to a half.
        smoothing: floor of the weight of a new observation.
        name: how tables call it.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(
        self,
        arms: int,
        random: np.random.Generator,
        *,
        epsilon: float = 0.01,
        opening_frames: float = 20.0,
        smoothing: float = 0.1,
        name: str = "epsilon_greedy",
    ) -> None:
        if arms < 1 or not 0.0 <= epsilon <= 1.0 or not 0.0 < smoothing <= 1.0 or not opening_frames > 0.0:
            raise ValueError("one arm, epsilon in [0, 1], smoothing in (0, 1], opening_frames > 0 expected")
        self.name = name
        self._random = random
        self._epsilon = epsilon
        self._opening_frames = opening_frames
        self._smoothing = smoothing
        self._means_s = np.zeros(arms)
        self._counts = np.zeros(arms)
        self._frames = 0.0

    def select(self, contexts: Matrix) -> int:
        """Return an arm.

        Raises:
            ValueError: not as many contexts as arms.
        """
        if len(contexts) != self._means_s.shape[0]:
            raise ValueError(
                f"{len(contexts)} contexts, expected one for each of {self._means_s.shape[0]} arms"
            )
        self._frames += 1.0
        share = max(self._epsilon, self._opening_frames / (self._opening_frames + self._frames))
        if self._random.random() < share:
            return int(self._random.integers(self._means_s.shape[0]))
        played = np.where(self._counts > 0.0, self._means_s, np.inf)
        return int(np.argmin(played)) if np.isfinite(played).any() else 0

    def update(self, arm: int, cost: Cost) -> None:
        """Move the mean of `arm` towards the cost; a bound never lowers it.

        Raises:
            ValueError: no such arm.
        """
        if not 0 <= arm < self._means_s.shape[0]:
            raise ValueError(f"arm {arm} is not among {self._means_s.shape[0]}")
        observed_s = max(cost.total_s, float(self._means_s[arm])) if cost.censored else cost.total_s
        self._counts[arm] += 1.0
        self._means_s[arm] += max(1.0 / self._counts[arm], self._smoothing) * (
            observed_s - self._means_s[arm]
        )

    def dump(self) -> Dump:
        """Return means and counts; the randomness is its owner's."""
        return {"means_s": self._means_s.copy(), "counts": self._counts.copy(), "frames": self._frames}

    def load(self, state: Dump) -> None:
        """Take over what `dump` returned.

        Raises:
            ValueError: another shape, NaN or infinity.
        """
        means_s = require_finite(state["means_s"], self._means_s.shape, "means_s")
        counts = require_finite(state["counts"], self._counts.shape, "counts")
        self._means_s, self._counts = means_s.copy(), counts.copy()
        self._frames = float(state["frames"])
