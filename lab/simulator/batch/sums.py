"""Sufficient statistics of many groups or lanes at once: `bandits.statistics`, stacked."""

import numpy as np
import numpy.typing as npt

from bandits.arrays import Matrix, Vector


class Sums:
    """Statistics of n regressions in d columns, lambda I included; beginning with no rows.

    Attributes:
        gram: shape (n, d, d). moment: shape (n, d). sum_squares, count, log_determinant: shape (n,).
    """

    def __init__(self, n: int, dimension: int, regularisation: float) -> None:
        self.gram = np.tile(regularisation * np.eye(dimension), (n, 1, 1))
        self.moment = np.zeros((n, dimension))
        self.sum_squares, self.count = np.zeros(n), np.zeros(n)
        self.log_determinant = np.full(n, dimension * np.log(regularisation))

    def add(
        self,
        at: npt.NDArray[np.int64],
        gram: Matrix,
        moment: Matrix,
        sum_squares: Vector | float,
        count: Vector,
    ) -> None:
        """Add statistics to the regressions at distinct indices."""
        self.gram[at] += gram
        self.moment[at] += moment
        self.sum_squares[at] += sum_squares
        self.count[at] += count
        self.log_determinant[at] = np.linalg.slogdet(self.gram[at])[1]

    def copy_from(self, other: "Sums", at: npt.NDArray[np.int64], source: npt.NDArray[np.int64]) -> None:
        """Take over those of `other` at `source`."""
        for name in ("gram", "moment", "sum_squares", "count", "log_determinant"):
            getattr(self, name)[at] = getattr(other, name)[source]
