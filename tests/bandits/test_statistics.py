from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bandits.statistics import Statistics

D = 4
numbers = st.floats(-100, 100, allow_nan=False, width=32)
rows = arrays(np.float64, st.tuples(st.integers(1, 12), st.just(D + 1)), elements=numbers)


def same(a: Statistics, b: Statistics) -> bool:
    return (
        np.array_equal(a.gram, b.gram)
        and np.array_equal(a.moment, b.moment)
        and (a.count, a.sum_squares) == (b.count, b.sum_squares)
    )


@given(rows)
def test_sums_are_the_textbook_sums(table: np.ndarray) -> None:
    X, y = table[:, :D], table[:, D]
    total = Statistics.zeros(D)
    for x, cost in zip(X, y, strict=True):
        total = total.add_row(x, float(cost))
    assert np.allclose(total.gram, X.T @ X)
    assert np.allclose(total.moment, X.T @ y)
    assert total.count == len(y)
    assert total.sum_squares == pytest.approx(y @ y)
    total.require_valid()


@given(rows, st.integers(0, 12))
def test_parts_add_up_to_the_whole(table: np.ndarray, split: int) -> None:
    whole = Statistics.zeros(D).add_rows(table[:, :D], table[:, D])
    first, second = table[:split], table[split:]
    parts = Statistics.zeros(D).add_rows(first[:, :D], first[:, D])
    parts += Statistics.zeros(D).add_rows(second[:, :D], second[:, D])
    assert np.allclose(parts.gram, whole.gram)
    assert np.allclose(parts.moment, whole.moment)
    assert parts.count == whole.count


@given(rows)
def test_a_dump_loads_to_the_bit(table: np.ndarray) -> None:
    original = Statistics.ridge(D, 0.1).add_rows(table[:, :D], table[:, D])
    assert same(Statistics.load(original.dump()), original)


def test_a_weight_multiplies_the_sums_but_not_the_count() -> None:
    x = np.array([1.0, 2.0, 0.0, -1.0])
    heavy = Statistics.zeros(D).add_row(x, 3.0, weight=0.25)
    assert np.allclose(heavy.gram, 0.25 * np.outer(x, x))
    assert np.allclose(heavy.moment, 0.25 * 3.0 * x)
    assert (heavy.count, heavy.sum_squares) == (1, 0.25 * 9.0)


def test_values_never_change_under_another_holder() -> None:
    gram = np.eye(D)
    value = Statistics(gram, np.zeros(D), 0, 0.0)
    gram[0, 0] = 7.0
    assert value.gram[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        value.gram[0, 0] = 2.0
    integers: Any = np.zeros(D, dtype=np.int64)
    integers.setflags(write=False)
    assert Statistics(np.eye(D), integers, 0, 0.0).moment.dtype == np.float64


@pytest.mark.parametrize("regularisation", [0.0, -1.0, np.inf, np.nan])
def test_a_ridge_must_be_positive(regularisation: float) -> None:
    with pytest.raises(ValueError, match="regularisation"):
        Statistics.ridge(D, regularisation)


@pytest.mark.parametrize(
    ("x", "y", "weight", "words"),
    [
        (np.ones(D), np.nan, 1.0, "costs holds"),
        (np.array([1, np.inf, 0, 0]), 1.0, 1.0, "rows holds"),
        (np.ones(D + 1), 1.0, 1.0, "shape"),
        (np.ones(D), 1.0, 0.0, "weight"),
        (np.ones(D), 1.0, np.nan, "weight"),
        (np.full(D, 1e200), 1.0, 1.0, "gram holds"),
        (np.zeros(D), 1e200, 1.0, "sum of squares"),
    ],
)
def test_bad_rows_are_refused(x: np.ndarray, y: float, weight: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Statistics.zeros(D).add_row(x, y, weight)


def test_rows_and_costs_must_be_as_many() -> None:
    with pytest.raises(ValueError, match=r"costs of shape \(2,\)"):
        Statistics.zeros(D).add_rows(np.ones((3, D)), np.ones(2))


NOT_SYMMETRIC = np.eye(2) + np.array([[0, 1e-3], [0, 0]])


@pytest.mark.parametrize(
    ("gram", "moment", "count", "sum_squares", "words"),
    [
        (np.eye(2), np.zeros(3), 1, 1.0, "shape"),
        (np.eye(2), np.array([np.nan, 0]), 1, 1.0, "moment holds"),
        (np.diag([np.inf, 1]), np.zeros(2), 1, 1.0, "gram holds"),
        (np.eye(2), np.zeros(2), 1, np.nan, "sum of squares"),
        (np.eye(2), np.zeros(2), -1, 0.0, "count"),
        (np.diag([1.0, -1.0]), np.zeros(2), 1, 1.0, "negative diagonal"),
        (np.eye(2), np.zeros(2), 1, -1.0, "negative diagonal"),
        (NOT_SYMMETRIC, np.zeros(2), 1, 1.0, "symmetric"),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), np.zeros(2), 1, 1.0, "semidefinite"),
        (np.eye(2), np.array([2.0, 0.0]), 1, 1.0, "semidefinite"),  # b^T V^-1 b = 4 > sum y^2
        (np.zeros((2, 2)), np.array([0.0, 1.0]), 1, 1.0, "semidefinite"),
    ],
)
def test_impossible_sums_are_refused(
    gram: np.ndarray, moment: np.ndarray, count: int, sum_squares: float, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Statistics(gram, moment, count, sum_squares).require_valid()


@given(rows, st.sampled_from(["flip", "bend", "moment"]))
def test_bent_sums_of_real_rows_are_refused(table: np.ndarray, how: str) -> None:
    honest = Statistics.zeros(D).add_rows(table[:, :D], table[:, D])
    gram, moment = honest.gram.copy(), honest.moment.copy()
    assume(np.trace(gram) > 1e-6)
    if how == "flip":
        gram = -gram
    elif how == "bend":
        gram[0, 1] = gram[1, 0] = gram[0, 1] + 2.0 * np.sqrt(gram[0, 0] * gram[1, 1]) + 1.0
    else:
        # Cauchy-Schwarz: |b| <= sqrt(trace(Sigma) sum y^2) for any rows.
        moment[0] = 2.0 * np.sqrt(np.trace(gram) * honest.sum_squares) + 1.0
    gram = (gram + gram.T) / 2.0
    # Of a bent sum with a minute diagonal, the two halves of the scaled matrix differ by rounding first.
    with pytest.raises(ValueError, match=r"semidefinite|symmetric"):
        Statistics(gram, moment, honest.count, honest.sum_squares).require_valid()


def test_no_rows_and_rank_one_are_valid() -> None:
    Statistics.zeros(3).require_valid()
    Statistics.zeros(3).add_row(np.array([1.0, 1e-9, 1e6]), 0.5).require_valid()
