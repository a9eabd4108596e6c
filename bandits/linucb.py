"""LinUCB (Li et al. 2010; Abbasi-Yadkori et al. 2011), minimising: a lower confidence bound.

The non-cooperative, non-federated member of the family, and the oracle for its limits: with one device
FedLinUCB-DW is this plus a prior.
"""

import numpy as np

from bandits.arrays import Dump, Matrix
from bandits.factor import Factor
from bandits.policy import Contexts, Cost
from bandits.statistics import Statistics


class LinUCB:
    """score_p = <theta, x_p> - beta sqrt(x_p^T V^-1 x_p); plays the smallest.

    Args:
        dimension: d.
        regularisation: lambda of V = lambda I + sum x x^T.
        beta_s: exploration, seconds.
        prior: statistics to start from, such as early-exit experience (the W).
        name: how tables call it.

    Raises:
        ValueError: a setting out of range or an invalid prior.
    """

    def __init__(
        self,
        dimension: int,
        *,
        regularisation: float = 0.1,
        beta_s: float = 0.3,
        prior: Statistics | None = None,
        name: str = "linucb",
    ) -> None:
        if not 0.0 <= beta_s < np.inf:
            raise ValueError(f"beta_s is {beta_s}, expected a finite number, not negative")
        self.name = name
        self.beta_s = beta_s
        self.statistics = Statistics.ridge(dimension, regularisation)
        if prior is not None:
            prior.require_valid()
            self.statistics += prior
        self._factor = Factor(self.statistics)
        self._contexts = Contexts(dimension)

    def select(self, contexts: Matrix) -> int:
        """Return the arm with the lowest optimistic cost, the first of equals.

        Raises:
            ValueError: contexts of another shape, NaN or infinity.
        """
        mean, width = self._factor.predict(self._contexts.remember(contexts))
        return int(np.argmin(mean - self.beta_s * width))

    def update(self, arm: int, cost: Cost) -> None:
        """Add one row; a censored cost counts as the bound, or the prediction where that is higher.

        Raises:
            ValueError: no such arm in the latest contexts.
        """
        X = self._contexts.row(arm)[None, :]
        observed_s = cost.total_s
        if cost.censored:
            observed_s = max(observed_s, float(self._factor.predict(X)[0][0]))
        y = np.array([observed_s])
        grown = self.statistics.add_rows(X, y)
        self._factor.append(X, y)
        self.statistics = grown

    def dump(self) -> Dump:
        """Return the statistics."""
        return self.statistics.dump()

    def load(self, state: Dump) -> None:
        """Take over what `dump` returned.

        Raises:
            ValueError: invalid statistics.
        """
        statistics = Statistics.load(state)
        self._factor = Factor(statistics)
        self.statistics = statistics
