"""LinUCB (Li et al. 2010; Abbasi-Yadkori et al. 2011), minimising: a lower confidence bound.

The non-cooperative, non-federated member of the family, and the oracle for its limits: with one device
FedLinUCB-DW is this plus a prior.
"""

from bandits.arrays import Dump, Matrix
from bandits.factor import Factor
from bandits.optimism import Optimist
from bandits.policy import Cost
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
        self.name = name
        self._optimist = Optimist(dimension, beta_s)
        self.statistics = Statistics.ridge(dimension, regularisation)
        if prior is not None:
            prior.require_valid()
            self.statistics += prior
        self._factor = Factor(self.statistics)

    @property
    def beta_s(self) -> float:
        """The exploration radius, seconds."""
        return self._optimist.beta_s

    def select(self, contexts: Matrix) -> int:
        """As `Optimist.select`."""
        return self._optimist.select(contexts, self._factor)

    def update(self, arm: int, cost: Cost) -> None:
        """Add one row; a censored cost counts as the bound, or the prediction where that is higher.

        Raises:
            ValueError: no such arm in the latest contexts.
        """
        X, y = self._optimist.row(arm, cost, self._factor)
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
