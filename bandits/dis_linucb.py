"""DisLinUCB, a rival: everybody learns alone until one agent's news is worth a round in which all exchange.

Wang, Hu, Chen & Wang, "Distributed Bandit Learning: Near-Optimal Regret with Efficient Communication", ICLR
2020, algorithm DisLinUCB. With W, U what all knew at the last round, and W_i, U_i what agent i, in n_i rows,
has seen since:

    V_i = lambda I + W + W_i,   theta_i = V_i^-1 (U + U_i)
    a round is called when   n_i (ln det V_i - ln det (lambda I + W)) > D
    in a round all upload (W_i, U_i), the server adds them to (W, U), all download those, W_i = U_i = n_i = 0

There time is counted in rounds that all agents play; here devices play when they like, so an agent counts its
own rows. D = T ln(M T) / (d M) is theirs for T rounds of M agents; D = 0 is one central learner. Here cost is
minimised: a lower confidence bound.
What it will not do: carry anything; whoever runs it takes an upload from all when one calls.
"""

from collections.abc import Sequence

import numpy as np

from bandits.arrays import Dump, Matrix
from bandits.factor import Factor
from bandits.optimism import Optimist
from bandits.policy import Cost
from bandits.statistics import Statistics


class DisLinUCB:
    """One agent.

    Args:
        dimension: d.
        regularisation: lambda.
        beta_s: exploration, in units of the cost.
        threshold: D, in rows times nats.
        name: how tables call it.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(
        self,
        dimension: int,
        *,
        regularisation: float = 0.1,
        beta_s: float = 0.3,
        threshold: float = 100.0,
        name: str = "dis_linucb",
    ) -> None:
        if not 0.0 <= threshold < np.inf:
            raise ValueError(f"threshold is {threshold}, expected a finite number, not negative")
        self.name = name
        self._optimist = Optimist(dimension, beta_s)
        self._threshold = threshold
        self._shared = Statistics.ridge(dimension, regularisation)
        self._local = Statistics.zeros(dimension)
        self._factor = Factor(self._shared)
        self._shared_log_determinant = self._factor.log_determinant

    def select(self, contexts: Matrix) -> int:
        """As `Optimist.select`."""
        return self._optimist.select(contexts, self._factor)

    def update(self, arm: int, cost: Cost) -> None:
        """Add one row; a censored cost counts as the bound, or the prediction where that is higher.

        Raises:
            ValueError: no such arm in the latest contexts.
        """
        X, y = self._optimist.row(arm, cost, self._factor)
        grown = self._local.add_rows(X, y)
        self._factor.append(X, y)
        self._local = grown

    def round_due(self) -> bool:
        """Whether this agent calls for a round."""
        grown = self._factor.log_determinant - self._shared_log_determinant
        return self._local.count * grown > self._threshold

    def upload(self) -> Statistics:
        """Return the rows since the last round, possibly none; they stay local until `adopt`."""
        return self._local

    def adopt(self, shared: Statistics) -> None:
        """Take what all know now, which holds what this agent has uploaded.

        Raises:
            ValueError: another dimension or no valid statistics; nothing changes.
        """
        if shared.dimension != self._shared.dimension:
            raise ValueError(f"statistics of dimension {shared.dimension}, expected {self._shared.dimension}")
        shared.require_valid()
        self._begin(shared, Statistics.zeros(shared.dimension))

    def _begin(self, shared: Statistics, local: Statistics) -> None:
        self._factor = Factor(shared + local)
        self._shared, self._local = shared, local
        self._shared_log_determinant = Factor(shared).log_determinant

    def dump(self) -> Dump:
        """Return the statistics."""
        return {"shared": self._shared.dump(), "local": self._local.dump()}

    def load(self, state: Dump) -> None:
        """Take over what `dump` returned.

        Raises:
            ValueError: invalid statistics.
        """
        self._begin(*(Statistics.load(state[name]) for name in ("shared", "local")))


class DisServer:
    """lambda I and the rows of every round.

    Args:
        dimension: d.
        regularisation: lambda.

    Raises:
        ValueError: regularisation not positive.
    """

    def __init__(self, dimension: int, *, regularisation: float = 0.1) -> None:
        self.statistics = Statistics.ridge(dimension, regularisation)

    def round(self, uploads: Sequence[Statistics]) -> Statistics:
        """Add one upload of each agent; return what all are to adopt.

        Raises:
            ValueError: another dimension, or statistics that no rows can have; nothing changes.
        """
        total = self.statistics
        for upload in uploads:
            if upload.dimension != total.dimension:
                raise ValueError(f"statistics of dimension {upload.dimension}, expected {total.dimension}")
            upload.require_valid()
            total += upload
        self.statistics = total
        return total
