"""All lanes of a policy that learns nothing from its own play."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lab.simulator.batch.periods import Period, Site
from lab.simulator.traffic import Traffic

ArmIndices = npt.NDArray[np.int64]


class Crowd(Protocol):
    """Plays all lanes; lanes of one seed lie together, in the order of time.

    Attributes:
        traffic: of each seed, so far.
    """

    @property
    def traffic(self) -> list[Traffic]:
        """See above."""
        ...

    def play(self, period: Period) -> ArmIndices:
        """Return each lane's arm in a period, having learnt from what it cost."""
        ...


class Seers:
    """`teams.Seer`: the true means. Implements `Crowd`."""

    def __init__(self, seeds: int) -> None:
        self.traffic = [Traffic() for _ in range(seeds)]

    def play(self, period: Period) -> ArmIndices:
        """As `Crowd.play`."""
        arms: ArmIndices = period.means.argmin(axis=1)
        return arms


class Habits:
    """For each lane one arm for ever. Implements `Crowd`."""

    def __init__(self, arms: ArmIndices, seeds: int) -> None:
        self._arms = arms
        self.traffic = [Traffic() for _ in range(seeds)]

    def play(self, period: Period) -> ArmIndices:
        """As `Crowd.play`."""
        del period
        return self._arms


class Draws:
    """`teams.Anything`: any arm. Implements `Crowd`.

    Args:
        random: of each seed.
    """

    def __init__(self, random: Sequence[np.random.Generator]) -> None:
        self._random = random
        self.traffic = [Traffic() for _ in random]

    def play(self, period: Period) -> ArmIndices:
        """As `Crowd.play`."""
        lanes, arms = period.means.shape
        each = lanes // len(self._random)
        return np.concatenate([random.integers(arms, size=each) for random in self._random])


def best_arms(sites: Sequence[Site]) -> ArmIndices:
    """Return each lane's arm of the smallest mean over all its turns."""
    best = []
    for site in sites:
        sums = np.zeros((site.order.size, site.contexts.shape[0]))
        for period in site.periods():
            sums += period.means
        best.append(sums.argmin(axis=1))
    return np.concatenate(best)
