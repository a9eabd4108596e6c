"""N ridge regressions side by side, each kept by its inverse gram: recursive least squares.

For a row (x, y), with P = V^-1, s = 1 + x^T P x and residual e = y - <theta, x> (Plackett 1950):

    P <- P - P x x^T P / s,   theta <- theta + P x e / s,   rho^2 <- rho^2 + e^2 / s,   ln det V <- + ln s.

`bandits.factor` keeps a triangle instead, which loses half as many digits but goes one device at a time. Here
rounding is bounded by building P anew from the sums now and then (`rebuild`). Scores of the two differ by
about 1e-12 s; arms that lie closer than that may be taken for each other.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bandits.arrays import Matrix, Vector

Lanes = slice | npt.NDArray[np.int64]
"""Which lanes: a slice reads and writes in place, indices copy."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What a frame's rows change in n lanes; nothing has changed yet.

    Attributes:
        gains: shape (n, d, 2), P x / sqrt(s) of the first row and, after it, of the second.
        theta: shape (n, d), after both.
        residual: shape (n,), what rho^2 grows by.
        growth: shape (n,), what ln det V grows by.
    """

    gains: Matrix
    theta: Matrix
    residual: Vector
    growth: Vector


class Regressions:
    """State of N regressions in d columns.

    Attributes:
        inverse: shape (N, d, d), V^-1.
        theta: shape (N, d).
        residual, sum_squares, count: shape (N,), rho^2, sum of y^2, rows.
    """

    def __init__(self, lanes: int, dimension: int, regularisation: float) -> None:
        self.inverse = np.tile(np.eye(dimension) / regularisation, (lanes, 1, 1))
        self.theta = np.zeros((lanes, dimension))
        self.residual, self.sum_squares, self.count = np.zeros(lanes), np.zeros(lanes), np.zeros(lanes)

    def step(self, lanes: Lanes, X: Matrix, y: Matrix) -> Step:  # noqa: N803 - as in the literature
        """Return what two rows a lane, X (n, d, 2) with costs y (n, 2), change; a row of zeros nothing."""
        theta = self.theta[lanes]
        first, second = self.inverse[lanes] @ X[:, :, :1], self.inverse[lanes] @ X[:, :, 1:]
        first, second = first[:, :, 0], second[:, :, 0]
        x, other = X[:, :, 0], X[:, :, 1]
        s = 1.0 + np.einsum("ni,ni->n", x, first)
        e = y[:, 0] - np.einsum("ni,ni->n", x, theta)
        theta = theta + first * (e / s)[:, None]
        second = second - first * (np.einsum("ni,ni->n", other, first) / s)[:, None]
        t = 1.0 + np.einsum("ni,ni->n", other, second)
        f = y[:, 1] - np.einsum("ni,ni->n", other, theta)
        theta = theta + second * (f / t)[:, None]
        gains = np.stack([first / np.sqrt(s)[:, None], second / np.sqrt(t)[:, None]], axis=2)
        return Step(gains, theta, e * e / s + f * f / t, np.log(s) + np.log(t))

    def take(self, lanes: Lanes, step: Step, chosen: Lanes, y: Matrix, rows: Vector) -> None:
        """Make a step in `lanes`, which are its lanes `chosen`; y (n, 2) as in `step`, `rows` (n,) count."""
        gains = step.gains[chosen]
        self.inverse[lanes] -= gains @ gains.transpose(0, 2, 1)
        self.theta[lanes] = step.theta[chosen]
        self.residual[lanes] += step.residual[chosen]
        self.sum_squares[lanes] += np.einsum("nm,nm->n", y, y)
        self.count[lanes] += rows

    def rebuild(
        self, lanes: Lanes, gram: Matrix, moment: Matrix, sum_squares: Vector, count: Vector
    ) -> Vector:
        """Set lanes to the regressions of these sums, gram (n, d, d) with its lambda I; return ln det V."""
        lower = np.linalg.cholesky(gram)
        # Rows of the inverse triangle; its product with itself is symmetric, and positive, to the bit.
        root = np.linalg.solve(lower, np.eye(gram.shape[1]))
        z = np.einsum("nij,nj->ni", root, moment)
        self.inverse[lanes] = root.transpose(0, 2, 1) @ root
        self.theta[lanes] = np.einsum("nji,nj->ni", root, z)
        self.residual[lanes] = np.maximum(0.0, sum_squares - np.einsum("ni,ni->n", z, z))
        self.sum_squares[lanes], self.count[lanes] = sum_squares, count
        log_determinant: Vector = 2.0 * np.log(np.einsum("nii->ni", lower)).sum(axis=1)
        return log_determinant
