"""Do a device's rows come from the parameters of its group? Asked of sums only, never of rows.

Chow's test (1960): with RSS(S) the residual sum of squares of the best theta for the rows of S,

    T = RSS(one + rest) - RSS(one) - RSS(rest)

is what it costs to explain both by one theta; noise alone makes T / sigma^2 chi-square. Directions that only
one side has rows in cost nothing. Real costs are not linear in the contexts, so two honest devices that play
other arms differ with certainty once they have rows enough. Hence a device is *different* only if

    sqrt(T)  >  tolerance sqrt(E)  +  sigma sqrt(q)

E being the T of a device whose costs are all zero (or of a rest whose are, if that is more), q the chi-square
quantile for so many shared directions at a level that pays for every look so far and for every member. By the
triangle inequality a device whose costs are within `tolerance` of the group's passes, however many its rows.

Columns that may honestly differ (each device has its own link) are projected out of every device's sums
before any two are compared (Frisch and Waugh 1933).

What it does for you: arithmetic. What it will not do: remember, or decide who is the odd one (`watch.py`).
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import chdtri

from bandits.arrays import Mask, Matrix, Vector
from bandits.statistics import Statistics

RANK = 1e-8
"""Eigenvalues below this share of the largest are directions without rows."""

SPARE_ROWS = 5
"""Rows beyond the number of columns that an estimate of the noise needs."""


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """When a device counts as different.

    Attributes:
        tolerance: relative difference of costs that is nobody's business, 0 to 1. Honest devices of a type
            differ by up to 0.15 through misfit alone (ADR 14).
        level: chance, in the life of a group, that noise alone makes an honest device different.
        least_members: fewer are never judged: of two that differ nobody knows who is right.
        digests: uploads of a device that are remembered, to know one that comes again under another number.

    Raises:
        ValueError: a setting out of range.
    """

    tolerance: float = 0.25
    level: float = 1e-3
    least_members: int = 3
    digests: int = 32

    def __post_init__(self) -> None:
        if not (0.0 <= self.tolerance < 1.0 and 0.0 < self.level < 1.0):
            raise ValueError(
                f"tolerance is {self.tolerance} and level {self.level}, expected numbers from 0 to 1"
            )
        if self.least_members < 3 or self.digests < 1:
            raise ValueError("the guard needs three members, and room for one digest")


DEFAULT = GuardSettings()


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """A device's sums over the columns that are compared, all others projected out.

    Attributes:
        gram: shape (k, k). moment: shape (k,).
        rows: how many.
        variance: of its residuals about its own best theta, seconds squared; NaN with too few rows.
    """

    gram: Matrix
    moment: Vector
    rows: float
    variance: float

    @classmethod
    def of(cls, statistics: Statistics, columns: Mask) -> Self:
        """Return the summary of `statistics` (dimension d) over `columns` (d booleans)."""
        gram, moment, rest = statistics.gram, statistics.moment, ~columns
        other_gram = gram[np.ix_(rest, rest)]
        explained, rank = _explained(other_gram, moment[rest])
        cross = gram[np.ix_(columns, rest)] @ _pseudo_inverse(other_gram)
        own = gram[np.ix_(columns, columns)] - cross @ gram[np.ix_(rest, columns)]
        own_moment = moment[columns] - cross @ moment[rest]
        own_explained, own_rank = _explained(own, own_moment)
        spare = statistics.count - rank - own_rank
        residual = max(0.0, statistics.sum_squares - explained - own_explained)
        return cls(own, own_moment, statistics.count, residual / spare if spare >= SPARE_ROWS else math.nan)

    def at_most(self, rows: float) -> Self:
        """Return it with the weight of no more than `rows`."""
        share = rows / self.rows
        if share >= 1.0:
            return self
        return type(self)(share * self.gram, share * self.moment, rows, self.variance)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far one device is from the rest.

    Attributes:
        distance: sqrt(T), seconds times the root of rows.
        size: sqrt(E), the same unit.
        shared: directions in which both have rows.
    """

    distance: float
    size: float
    shared: int

    @property
    def difference(self) -> float:
        """The relative difference, 0 to 2; 0 where nothing is shared."""
        return self.distance / self.size if self.size > 0.0 else 0.0

    def excess(self, tolerance: float, variance: float, level: float) -> float:
        """Return by how much `distance` is more than tolerance and noise explain; not positive if they do."""
        if self.shared < 1:
            return -math.inf
        noise = math.sqrt(variance * float(chdtri(self.shared, level)))
        return self.distance - tolerance * self.size - noise


def compare(gram: Matrix, moment: Vector, rest_gram: Matrix, rest_moment: Vector) -> Comparison:
    """Compare the sums of one device with those of the others, over the same k columns."""
    both = gram + rest_gram
    one, one_rank = _explained(gram, moment)
    rest, rest_rank = _explained(rest_gram, rest_moment)
    together, rank = _explained(both, moment + rest_moment)
    # What each alone would still explain if the other's costs were all zero.
    size = max(one - _explained(both, moment)[0], rest - _explained(both, rest_moment)[0], 0.0)
    return Comparison(
        math.sqrt(max(0.0, one + rest - together)), math.sqrt(size), max(0, one_rank + rest_rank - rank)
    )


def level_at(look: int, members: int, level: float) -> float:
    """Return the level of the `look`-th test (from 1) of one of `members`; all of them sum up to `level`."""
    return level / (members * look * (look + 1))


def _explained(gram: Matrix, moment: Vector) -> tuple[float, int]:
    """Return b^T A^+ b, the part of the sum of squares that the best theta explains, and the rank of A."""
    values, vectors = _spectrum(gram)
    along = moment @ vectors
    return float((along * along / values).sum()), values.size


def _pseudo_inverse(gram: Matrix) -> Matrix:
    values, vectors = _spectrum(gram)
    inverse: Matrix = (vectors / values) @ vectors.T
    return inverse


def _spectrum(gram: Matrix) -> tuple[Vector, Matrix]:
    """Return eigenvalues and eigenvectors of the directions that have rows."""
    values, vectors = np.linalg.eigh(gram)
    kept = values > RANK * max(0.0, float(values[-1])) if values.size else np.zeros(0, dtype=np.bool_)
    return values[kept], vectors[:, kept]
