"""LinTS, a rival: play the best arm of a theta drawn from the posterior.

Agrawal & Goyal, "Thompson Sampling for Contextual Bandits with Linear Payoffs", ICML 2013, minimising:

    theta' ~ N(V^-1 b, v^2 V^-1),   arm = argmin <theta', x_p>.
"""

import numpy as np

from bandits.arrays import Dump, Matrix
from bandits.factor import Factor
from bandits.policy import Contexts, Cost
from bandits.statistics import Statistics


class LinTS:
    """One device's Thompson sampler.

    Args:
        dimension: d.
        random: the only randomness it has.
        regularisation: lambda of V = lambda I + sum x x^T.
        spread_s: v, seconds.
        name: how tables call it.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(
        self,
        dimension: int,
        random: np.random.Generator,
        *,
        regularisation: float = 0.1,
        spread_s: float = 0.05,
        name: str = "lin_ts",
    ) -> None:
        if not 0.0 <= spread_s < np.inf:
            raise ValueError(f"spread_s is {spread_s}, expected a finite number, not negative")
        self.name = name
        self._random = random
        self._spread_s = spread_s
        self._statistics = Statistics.ridge(dimension, regularisation)
        self._factor = Factor(self._statistics)
        self._contexts = Contexts(dimension)

    def select(self, contexts: Matrix) -> int:
        """Return the best arm of a drawn theta.

        Raises:
            ValueError: contexts of another shape, NaN or infinity.
        """
        X = self._contexts.remember(contexts)
        deviates = np.asarray(self._spread_s * self._random.standard_normal(X.shape[1]))
        drawn = self._factor.draw(deviates)
        return int(np.argmin(X @ drawn))

    def update(self, arm: int, cost: Cost) -> None:
        """Add one row; a censored cost counts as the bound, or the prediction where that is higher.

        Raises:
            ValueError: no such arm in the latest contexts.
        """
        X = self._contexts.row(arm)[None, :]
        observed_s = max(cost.total_s, self._factor.mean(X[0])) if cost.censored else cost.total_s
        y = np.array([observed_s])
        grown = self._statistics.add_rows(X, y)
        self._factor.append(X, y)
        self._statistics = grown

    def dump(self) -> Dump:
        """Return the statistics; the randomness is its owner's."""
        return self._statistics.dump()

    def load(self, state: Dump) -> None:
        """Take over what `dump` returned.

        Raises:
            ValueError: invalid statistics.
        """
        statistics = Statistics.load(state)
        self._factor = Factor(statistics)
        self._statistics = statistics
