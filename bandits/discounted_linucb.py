"""D-LinUCB, a rival where costs drift: every row counts gamma times less with each frame after it.

Russac, Vernade & Cappe, "Weighted Linear Bandits for Non-Stationary Environments", NeurIPS 2019, algorithm 1,
minimising:

    V  <- gamma V    + x x^T + (1 - gamma) lambda I         b <- gamma b + y x
    V~ <- gamma^2 V~ + x x^T + (1 - gamma^2) lambda I       theta = V^-1 b
    score_p = <theta, x_p> - beta sqrt(x_p^T V^-1 V~ V^-1 x_p)

so that V = lambda I + the discounted rows: the ridge never fades. What is forgotten looks cheap again, since
theta shrinks to zero there and costs are positive: that alone brings such a learner back to an arm it left.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.linalg.blas import dtrsm

from bandits.arrays import Dump, Matrix, Vector
from bandits.player import DEFAULT_PLAYER, EstimatePlayer, PlayerSettings
from bandits.policy import Cost
from bandits.statistics import Statistics


@dataclass(frozen=True, eq=False)
class _Discounted:
    """The two grams and the moment; implements `Estimate`.

    Attributes:
        sums: V, b and the discounted sum of squares; its count is of all rows ever, and weighs nothing.
        squared: V~, shape (d, d).
        weight: discounted count of rows.
    """

    sums: Statistics
    squared: Matrix
    weight: float

    def after(self, X: Matrix, y: Vector, gamma: float, regularisation: float) -> "_Discounted":
        """Return these after one more frame, of rows X (m, d) and costs y (m,).

        Raises:
            ValueError: NaN, infinity or an overflow.
        """
        sums, ridge = self.sums, regularisation * np.eye(self.sums.dimension)
        faded = Statistics(
            gamma * sums.gram + (1.0 - gamma) * ridge,
            gamma * sums.moment,
            sums.count,
            gamma * sums.sum_squares,
        )
        grown = faded.add_rows(X, y)  # looks at the rows
        squared = gamma**2 * self.squared + (1.0 - gamma**2) * ridge + X.T @ X
        return _Discounted(grown, squared, gamma * self.weight + X.shape[0])

    @cached_property
    def _triangle(self) -> Matrix:
        """R of R^T R = V; Fortran order, as BLAS reads it."""
        lower: Matrix = np.linalg.cholesky(self.sums.gram)  # type: ignore[assignment] # float64 of float64
        return lower.T

    def _solve(self, B: Matrix) -> Matrix:
        """Return V^-1 B of B (d, K)."""
        solved: Matrix = dtrsm(1.0, self._triangle, dtrsm(1.0, self._triangle, B, trans_a=1))
        return solved

    @property
    def noise_s(self) -> float:
        """As `Factor.noise_s`, of discounted rows."""
        b = self.sums.moment
        penalised = self.sums.sum_squares - float(b @ self._solve(b[:, None])[:, 0])
        # Rounding can bring a perfect fit slightly below zero.
        return math.sqrt(max(0.0, penalised) / max(1.0, self.weight - self.sums.dimension))

    @property
    def scale_s(self) -> float:
        """As `Factor.scale_s`, of discounted rows."""
        return math.sqrt(self.sums.sum_squares / max(1.0, self.weight))

    def predict(self, X: Matrix) -> tuple[Vector, Vector]:
        """As `Estimate.predict`."""
        U = self._solve(X.T)
        return self.sums.moment @ U, np.sqrt(np.einsum("ik,ik->k", U, self.squared @ U))


class DiscountedLinUCB(EstimatePlayer[_Discounted]):
    """One learner. Implements `Policy`.

    Args:
        device_columns: d booleans, the context columns of what runs on the device.
        settings: how it chooses.
        gamma: in (0, 1], for each frame that it is told of; 1 is plain LinUCB.
        name: how tables call it.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(
        self,
        device_columns: Sequence[bool] | npt.NDArray[np.bool_],
        settings: PlayerSettings = DEFAULT_PLAYER,
        *,
        gamma: float = 0.98,
        name: str = "discounted_linucb",
    ) -> None:
        if not 0.0 < gamma <= 1.0:
            raise ValueError(f"gamma is {gamma}, expected a number in (0, 1]")
        self.name = name
        self._gamma = gamma
        super().__init__(device_columns, settings)
        ridge = Statistics.ridge(len(device_columns), settings.regularisation)
        self._estimate = _Discounted(ridge, ridge.gram, 0.0)

    def update(self, arm: int, cost: Cost) -> None:
        """Fade all rows, then add those of one frame.

        Raises:
            ValueError: no such arm in the latest contexts.
        """
        X, y = self._player.rows(arm, cost, self._estimate)
        self._estimate = self._estimate.after(X, y, self._gamma, self._player.settings.regularisation)

    def dump(self) -> Dump:
        """Return the sums and the place in the schedule of probes."""
        estimate = self._estimate
        return {
            "sums": estimate.sums.dump(),
            "squared": estimate.squared,
            "weight": estimate.weight,
            "player": self._player.dump(),
        }

    def load(self, state: Dump) -> None:
        """Take over what `dump` returned.

        Raises:
            ValueError: invalid sums, or a weight that cannot be theirs.
        """
        sums, squared, weight = Statistics.load(state["sums"]), state["squared"], float(state["weight"])
        Statistics(squared, np.zeros(sums.dimension), 0, 0.0).require_valid()
        if not 0.0 <= weight <= sums.count:
            raise ValueError(f"weight is {weight}, expected that of at most {sums.count} rows")
        self._estimate = _Discounted(sums, squared, weight)
        self._player.load(state["player"])
