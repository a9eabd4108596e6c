"""Sufficient statistics of linear regression rows: all that ever leaves a device.

For rows (x_i, y_i) of weight w_i: gram = sum w x x^T (Sigma), moment = sum w y x (b), the number of
rows, and sum w y^2. Values never change: adding makes a new value, and its arrays are read-only, so one
value can sit in a view, in an upload and in a snapshot at once.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.linalg.lapack import dpotrf

from bandits.arrays import Dump, Matrix, Vector, all_finite, require_finite

ROUNDING = 1e-9
"""Smallest eigenvalue (of a unit-diagonal matrix) and asymmetry that count as rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """Sums over rows.

    Attributes:
        gram: shape (d, d), columns' units squared.
        moment: shape (d,), seconds times columns' units.
        count: rows.
        sum_squares: seconds squared.
    """

    gram: Matrix
    moment: Vector
    count: int
    sum_squares: float

    def __post_init__(self) -> None:
        """Own read-only arrays: copy whatever somebody else could still write."""
        for name in ("gram", "moment"):
            array = getattr(self, name)
            if array.flags.writeable or array.dtype != np.float64:
                array = np.array(array, dtype=np.float64)
                array.setflags(write=False)
                object.__setattr__(self, name, array)

    @classmethod
    def zeros(cls, dimension: int) -> Self:
        """Return the statistics of no rows."""
        return cls(np.zeros((dimension, dimension)), np.zeros(dimension), 0, 0.0)

    @classmethod
    def ridge(cls, dimension: int, regularisation: float) -> Self:
        """Return lambda I and nothing else: where a group starts.

        Raises:
            ValueError: `regularisation` is not a finite positive number.
        """
        if not 0.0 < regularisation < np.inf:
            raise ValueError(f"regularisation is {regularisation}, expected a finite positive number")
        return cls(regularisation * np.eye(dimension), np.zeros(dimension), 0, 0.0)

    @property
    def dimension(self) -> int:
        """Number of columns d."""
        return int(self.moment.shape[0])

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.gram + other.gram,
            self.moment + other.moment,
            self.count + other.count,
            self.sum_squares + other.sum_squares,
        )

    def at_most(self, rows: int) -> Self:
        """Return these statistics, or, of more than `rows`, the same mean row and cost with that weight."""
        if self.count <= rows:
            return self
        share = rows / self.count
        return type(self)(share * self.gram, share * self.moment, rows, share * self.sum_squares)

    def add_row(self, x: Vector, y: float, weight: float = 1.0) -> Self:
        """Return these statistics and one more row.

        Args:
            x: shape (d,).
            y: seconds.
            weight: how many rows it stands for, positive.

        Raises:
            ValueError: another shape, NaN, infinity, or a sum that overflows.
        """
        return self.add_rows(np.asarray(x)[None, :], np.array([y]), weight)

    def add_rows(self, X: Matrix, y: Vector, weight: float = 1.0) -> Self:
        """Return these statistics and the rows of X (m, d) with costs y (m,), seconds.

        Raises:
            ValueError: another shape, NaN, infinity, a weight that is not positive, or an overflow.
        """
        if X.shape != (y.shape[0], self.dimension):
            raise ValueError(f"rows of shape {X.shape} and costs of shape {y.shape}, d = {self.dimension}")
        if not 0.0 < weight < np.inf:
            raise ValueError(f"weight is {weight}, expected a finite positive number")
        heavy = X if weight == 1.0 else weight * X
        with np.errstate(over="ignore", invalid="ignore"):
            total = type(self)(
                self.gram + heavy.T @ X,
                self.moment + y @ heavy,
                self.count + X.shape[0],
                self.sum_squares + weight * float(y @ y),
            )
        # Sums keep NaN and infinity: only bad ones need a look at what went in, for the message.
        if not (all_finite(total.gram) and all_finite(total.moment) and math.isfinite(total.sum_squares)):
            require_finite(X, X.shape, "rows")
            require_finite(y, y.shape, "costs")
            total.require_finite()
        return total

    def require_finite(self) -> None:
        """Check shapes and that every number is finite.

        Raises:
            ValueError: they are not.
        """
        d = self.dimension
        require_finite(self.moment, (d,), "moment")
        require_finite(self.gram, (d, d), "gram")
        if self.count < 0 or not np.isfinite(self.sum_squares):
            raise ValueError("count or sum of squares is not a sum over rows")

    def require_valid(self) -> None:
        """Check that some rows (and a ridge) can have these sums.

        The augmented matrix [[gram, moment], [moment^T, sum_squares]] is a sum of outer products, so it
        is symmetric positive semidefinite: one Cholesky of it, scaled to unit diagonal and lifted by
        `ROUNDING`, tests the gram and the moment together.

        Raises:
            ValueError: non-finite, asymmetric or not positive semidefinite.
        """
        self.require_finite()
        d = self.dimension
        augmented = np.empty((d + 1, d + 1))
        augmented[:d, :d] = self.gram
        augmented[:d, d] = augmented[d, :d] = self.moment
        augmented[d, d] = self.sum_squares
        diagonal = augmented.diagonal()
        if diagonal.min() < 0.0:
            raise ValueError("statistics are not positive semidefinite: negative diagonal")
        scale = np.sqrt(diagonal)
        # Where the diagonal is zero the whole row must be; scale 1 keeps any other entry visible.
        scale[scale == 0.0] = 1.0
        augmented /= scale
        augmented /= scale[:, None]
        if np.abs(augmented - augmented.T).max() > ROUNDING:
            raise ValueError("gram is not symmetric")
        augmented.flat[:: d + 2] += ROUNDING
        if dpotrf(augmented.T, clean=0, overwrite_a=1)[1] != 0:
            raise ValueError("statistics are not positive semidefinite")

    def dump(self) -> Dump:
        """Return primitives and arrays."""
        return {
            "gram": self.gram,
            "moment": self.moment,
            "count": self.count,
            "sum_squares": self.sum_squares,
        }

    @classmethod
    def load(cls, state: Dump) -> Self:
        """Return what `dump` was made from, to the bit.

        Raises:
            ValueError: the state does not hold valid statistics.
        """
        loaded = cls(
            np.asarray(state["gram"], dtype=np.float64),
            np.asarray(state["moment"], dtype=np.float64),
            int(state["count"]),
            float(state["sum_squares"]),
        )
        loaded.require_valid()
        return loaded
