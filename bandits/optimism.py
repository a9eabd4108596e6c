"""The choice of LinUCB: the lowest mean less so many widths, and one row a frame.

What the estimate is made of, and when, is the caller's (`linucb`, `async_linucb`, `dis_linucb`).
"""

import numpy as np

from bandits.arrays import Matrix, Vector
from bandits.factor import Factor
from bandits.policy import Contexts, Cost


class Optimist:
    """Chooses by a factor.

    Attributes:
        beta_s: exploration radius, seconds.

    Args:
        dimension: d.
        beta_s: see there.

    Raises:
        ValueError: a radius that is negative or not finite.
    """

    def __init__(self, dimension: int, beta_s: float) -> None:
        if not 0.0 <= beta_s < np.inf:
            raise ValueError(f"beta_s is {beta_s}, expected a finite number, not negative")
        self.beta_s = beta_s
        self._contexts = Contexts(dimension)

    def select(self, contexts: Matrix, factor: Factor) -> int:
        """Return the arm with the lowest optimistic cost, the first of equals.

        Raises:
            ValueError: contexts of another shape, NaN or infinity.
        """
        mean, width = factor.predict(self._contexts.remember(contexts))
        return int(np.argmin(mean - self.beta_s * width))

    def row(self, arm: int, cost: Cost, factor: Factor) -> tuple[Matrix, Vector]:
        """Return the row (1, d) of a frame and its cost (1,).

        A censored cost counts as the bound, or as the prediction where that is higher.

        Raises:
            ValueError: no such arm in the latest contexts.
        """
        X = self._contexts.row(arm)[None, :]
        observed = cost.total_s
        if cost.censored:
            observed = max(observed, float(factor.predict(X)[0][0]))
        return X, np.array([observed])
