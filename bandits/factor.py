"""A square-root factor of the gram, kept up to date row by row; no inverse is ever formed.

Square-root information form (Bierman, "Factorization Methods for Discrete Sequential Estimation", 1977,
ch. V): keep the upper triangle of the augmented problem,

    [ R  z   ]      R^T R = V,   R^T z = b,   rho^2 = sum y^2 - b^T V^-1 b  (penalised residual).
    [ 0  rho ]

A row [x y] is appended by a QR of the stacked matrix, which squares nothing, so the condition number that
arithmetic sees is that of R, the square root of the gram's. Everything a policy asks then comes from one
triangular solve W = R^-T X^T: the mean <theta, x> = z^T W, and the width ||x||_{V^-1} = ||column of W||.

`numpy.linalg.solve` is used for the solve: LU of a triangular matrix has no fill, and a back substitution
written in Python costs one interpreted step a column.
"""

import numpy as np

from bandits.arrays import Matrix, Vector, require_finite
from bandits.statistics import Statistics


class Factor:
    """R, z and rho of one regression.

    Args:
        statistics: gram must be positive definite (include lambda I).

    Raises:
        ValueError: gram not positive definite, or statistics not finite.
    """

    __slots__ = ("_augmented", "count", "dimension")

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
        self._augmented = np.zeros((d + 1, d + 1))
        self._augmented[:d, :d] = R
        self._augmented[:d, d] = z
        # Rounding can bring a perfect fit slightly below zero.
        self._augmented[d, d] = np.sqrt(max(0.0, statistics.sum_squares - float(z @ z)))

    def append(self, X: Matrix, y: Vector, weight: float = 1.0) -> None:
        """Add rows X (m, d) with costs y (m,); nothing changes if they are refused.

        Raises:
            ValueError: another shape, NaN, infinity or an overflow.
        """
        X = require_finite(X, (None, self.dimension), "rows")
        y = require_finite(y, (X.shape[0],), "costs")
        d = self.dimension
        stacked = np.empty((d + 1 + X.shape[0], d + 1))
        stacked[: d + 1] = self._augmented
        stacked[d + 1 :, :d] = X
        stacked[d + 1 :, d] = y
        if weight != 1.0:
            stacked[d + 1 :] *= np.sqrt(weight)
        updated = np.asarray(np.linalg.qr(stacked, mode="r"), dtype=np.float64)
        if not np.isfinite(updated).all():
            raise ValueError("rows are too large: the factor would overflow")
        self._augmented = updated
        self.count += X.shape[0]

    @property
    def theta(self) -> Vector:
        """The ridge estimate V^-1 b, shape (d,)."""
        d = self.dimension
        theta = np.linalg.solve(self._augmented[:d, :d], self._augmented[:d, d])
        return np.asarray(theta, dtype=np.float64)

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
        return abs(rho) / float(np.sqrt(max(1, self.count - self.dimension)))

    @property
    def scale_s(self) -> float:
        """Root mean square of the costs, seconds; 0 before the first row."""
        d = self.dimension
        return float(np.linalg.norm(self._augmented[:, d])) / float(np.sqrt(max(1, self.count)))

    def predict(self, X: Matrix) -> tuple[Vector, Vector]:
        """Return mean <theta, x> and width sqrt(x^T V^-1 x), each (K,), of the rows of X (K, d)."""
        d = self.dimension
        W = np.linalg.solve(self._augmented[:d, :d].T, X.T)
        mean = self._augmented[:d, d] @ W
        return mean, np.sqrt(np.einsum("ij,ij->j", W, W))
