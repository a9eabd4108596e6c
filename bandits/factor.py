"""A square-root factor of the gram, kept up to date row by row; no inverse is ever formed.

Square-root information form (Bierman, "Factorization Methods for Discrete Sequential Estimation", 1977,
ch. V): keep the upper triangle of the augmented problem,

    [ R  z   ]      R^T R = V,   R^T z = b,   rho^2 = sum y^2 - b^T V^-1 b  (penalised residual).
    [ 0  rho ]

A row [x y] is appended by a QR of the stacked matrix, which squares nothing, so the condition number that
arithmetic sees is that of R, the square root of the gram's. Everything a policy asks then comes from one
triangular solve W = R^-T X^T: the mean <theta, x> = z^T W, and the width ||x||_{V^-1} = ||column of W||.

Both steps are called by their names: LAPACK's TPQRT appends rows to a triangle, BLAS's TRSM and TRSV solve
with one. What numpy offers instead (QR of the whole stack, LU of a triangle) costs three times as much at
d = 15, and LAPACK's TRTRS wakes all threads of OpenBLAS, which then spin for 40 ms (ADR 9).
"""

import math

import numpy as np
from scipy.linalg.blas import dtrsm, dtrsv
from scipy.linalg.lapack import dtpqrt

from bandits.arrays import Matrix, Vector, all_finite
from bandits.statistics import Statistics

_BLOCK = 8  # columns that TPQRT reflects together: fastest from d = 8 to 64 for one or two rows


class Factor:
    """R, z and rho of one regression.

    Args:
        statistics: gram must be positive definite (include lambda I).

    Raises:
        ValueError: gram not positive definite, or statistics not finite.
    """

    __slots__ = ("_augmented", "_theta", "count", "dimension")

    def __init__(self, statistics: Statistics) -> None:
        d = statistics.dimension
        statistics.require_finite()
        try:
            R = np.linalg.cholesky(statistics.gram).T
        except np.linalg.LinAlgError as error:
            raise ValueError("gram is not positive definite") from error
        z = np.linalg.solve(R.T, statistics.moment)
        self.dimension = d
        self.count = statistics.count
        self._theta: Vector | None = None
        # Fortran order, so that LAPACK reads it as it lies.
        self._augmented = np.zeros((d + 1, d + 1), order="F")
        self._augmented[:d, :d] = R
        self._augmented[:d, d] = z
        # Rounding can bring a perfect fit slightly below zero.
        self._augmented[d, d] = np.sqrt(max(0.0, statistics.sum_squares - float(z @ z)))

    def append(self, X: Matrix, y: Vector, weight: float = 1.0) -> None:
        """Add rows X (m, d) with costs y (m,); nothing changes if they are refused.

        Raises:
            ValueError: another shape, NaN, infinity or an overflow.
        """
        d = self.dimension
        if X.shape != (y.shape[0], d):
            raise ValueError(f"rows of shape {X.shape} and costs of shape {y.shape}, d = {d}")
        rows = np.empty((X.shape[0], d + 1), order="F")
        rows[:, :d] = X
        rows[:, d] = y
        if weight != 1.0:
            rows *= math.sqrt(weight)
        updated, *_ = dtpqrt(0, min(_BLOCK, d + 1), self._augmented, rows, overwrite_b=1)
        # NaN and infinity survive the reflections, so one look at the result is a look at the rows.
        if not all_finite(updated):
            raise ValueError("rows or costs hold NaN or infinity, or are too large for the factor")
        self._augmented = updated
        self._theta = None
        self.count += X.shape[0]

    @property
    def theta(self) -> Vector:
        """The ridge estimate V^-1 b, shape (d,)."""
        if self._theta is None:
            d = self.dimension
            self._theta = dtrsv(self._augmented[:d, :d], self._augmented[:d, d])
        return self._theta

    def draw(self, deviates: Vector) -> Vector:
        """Return theta + R^-1 z (d,): of covariance V^-1 where z (d,) is standard normal."""
        d = self.dimension
        drawn: Vector = self.theta + dtrsv(self._augmented[:d, :d], deviates)
        return drawn

    @property
    def log_determinant(self) -> float:
        """Ln det V, from the diagonal of R, which cannot overflow."""
        d = self.dimension
        return 2.0 * float(np.log(np.abs(self._augmented.diagonal()[:d])).sum())

    @property
    def noise_s(self) -> float:
        """Standard deviation of the residuals, seconds; 0 before the first row.

        Rows are taken as at least d + 1, so a fit through few points is not mistaken for no noise.
        """
        rho = float(self._augmented[self.dimension, self.dimension])
        return abs(rho) / math.sqrt(max(1, self.count - self.dimension))

    @property
    def scale_s(self) -> float:
        """Root mean square of the costs, seconds; 0 before the first row."""
        costs = self._augmented[:, self.dimension]
        return math.sqrt(float(costs @ costs) / max(1, self.count))

    def predict(self, X: Matrix) -> tuple[Vector, Vector]:
        """Return mean <theta, x> and width sqrt(x^T V^-1 x), each (K,), of the rows of X (K, d)."""
        d = self.dimension
        W: Matrix = dtrsm(1.0, self._augmented[:d, :d], X.T, trans_a=1)
        mean = self._augmented[:d, d] @ W
        return mean, np.sqrt(np.einsum("ij,ij->j", W, W))

    def mean(self, x: Vector) -> float:
        """Return <theta, x> of one row x (d,)."""
        return float(self.theta @ x)
