"""What statistics say about a quantity that is linear in theta: an estimate, and an interval around it.

Least squares on V - lambda I, since the ridge pulls towards zero whatever no row has asked about:

    q = x^T G^-1 b  +-  t s sqrt(x^T G^-1 x),   G = V - lambda I,   s^2 = (sum y^2 - b^T G^-1 b) / (n - d)

with t the quantile of Student's distribution of n - d degrees of freedom (any textbook of linear regression).
The whole of G^-1 is in the width: columns that rise together are known together and not one by one.
Holds where cost is linear and rows are independent with equal noise; where the noise of some rows is
another's (a link's and a processor's), n of those that a question is about makes the interval too wide,
never too narrow, because all residuals are counted as theirs.

This file must never say what a column means.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.special import stdtrit

from bandits.arrays import Matrix
from bandits.statistics import Statistics

CONFIDENCE = 0.95
LEAST_RIDGE = 1e-9
"""What stays of lambda, of the gram's trace: enough that rounding leaves G positive definite."""
MOST_UNSEEN = 0.01
"""Share of a question that no row has asked; what is above it has no answer."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and where it lies with 95 % confidence, seconds per unit of the question."""

    mean: float
    low: float
    high: float


def intervals(
    statistics: Statistics, regularisation: float, X: Matrix, rows: Sequence[float]
) -> tuple[Interval | None, ...]:
    """Return the interval of each question, None where there are no data for it.

    Args:
        statistics: gram with lambda I in it.
        regularisation: that lambda.
        X: shape (q, d), one question a row, none of them zero.
        rows: length q, how many rows may carry the noise of each question.
    """
    d = statistics.dimension
    trace = float(np.trace(statistics.gram))
    floor = min(regularisation, LEAST_RIDGE * trace)
    gram = statistics.gram - (regularisation - floor) * np.eye(d)
    try:
        factor = cho_factor(gram, lower=True)
    except LinAlgError:
        return (None,) * len(X)  # more was taken for the ridge than there is: no lambda of ours
    U = cho_solve(factor, X.T)
    mean = statistics.moment @ U
    unseen = floor * np.linalg.norm(U, axis=0) / np.linalg.norm(X, axis=1)
    # Rounding can bring a perfect fit slightly below zero.
    fitted = float(statistics.moment @ cho_solve(factor, statistics.moment))
    residual = max(0.0, statistics.sum_squares - fitted)
    width = np.sqrt(residual * np.einsum("qd,dq->q", X, U))
    each = zip(mean.tolist(), width.tolist(), unseen.tolist(), rows, strict=True)
    return tuple(
        None if share > MOST_UNSEEN or carry - d < 1.0 else _around(centre, wide, carry - d)
        for centre, wide, share, carry in each
    )


def _around(mean: float, width: float, free: float) -> Interval:
    """Return the interval of `free` degrees of freedom."""
    half = float(stdtrit(free, 0.5 + CONFIDENCE / 2.0)) * width / free**0.5
    return Interval(mean, mean - half, mean + half)
