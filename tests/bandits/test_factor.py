import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandits.factor import Factor
from bandits.statistics import Statistics

D = 6


def random_rows(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (count, D)), rng.uniform(0, 1, count)


@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.integers(1, 3))
def test_rows_one_by_one_equal_the_normal_equations(seed: int, count: int, together: int) -> None:
    X, y = random_rows(seed, count)
    factor = Factor(Statistics.ridge(D, 0.1))
    for start in range(0, count, together):
        factor.append(X[start : start + together], y[start : start + together])
    V, b = 0.1 * np.eye(D) + X.T @ X, X.T @ y
    theta = np.linalg.solve(V, b)
    assert np.allclose(factor.theta, theta, atol=1e-9)
    assert factor.log_determinant == pytest.approx(np.linalg.slogdet(V)[1], abs=1e-9)
    asked = random_rows(seed + 1, 9)[0]
    mean, width = factor.predict(asked)
    assert np.allclose(mean, asked @ theta, atol=1e-9)
    assert np.allclose(width**2, np.einsum("ki,ik->k", asked, np.linalg.solve(V, asked.T)), atol=1e-9)
    residual = y @ y - b @ theta
    assert factor.noise_s == pytest.approx(np.sqrt(max(0, residual) / max(1, count - D)), abs=1e-7)
    assert factor.scale_s == pytest.approx(np.sqrt(y @ y / max(1, count)), abs=1e-9)


def test_a_rebuilt_factor_equals_the_incremental_one() -> None:
    X, y = random_rows(3, 500)
    incremental = Factor(Statistics.ridge(D, 1e-3))
    incremental.append(X, y)
    rebuilt = Factor(Statistics.ridge(D, 1e-3).add_rows(X, y))
    assert np.allclose(rebuilt.theta, incremental.theta)
    assert rebuilt.noise_s == pytest.approx(incremental.noise_s)
    assert rebuilt.count == incremental.count == 500


def test_a_weight_counts_like_repetition() -> None:
    X, y = random_rows(4, 5)
    weighted, repeated = Factor(Statistics.ridge(D, 0.1)), Factor(Statistics.ridge(D, 0.1))
    weighted.append(X, y, weight=3.0)
    for _ in range(3):
        repeated.append(X, y)
    assert np.allclose(weighted.theta, repeated.theta)
    assert weighted.log_determinant == pytest.approx(repeated.log_determinant)


def test_nearly_collinear_columns_keep_their_digits() -> None:
    # cond(V) = 1e14 here: the normal equations would have two digits left.
    rng = np.random.default_rng(5)
    X = rng.uniform(-1, 1, (400, 2))
    X = np.column_stack([X, X[:, 0] + 1e-6 * X[:, 1]])
    factor = Factor(Statistics.ridge(3, 1e-13))
    for x in X:
        factor.append(x[None, :], np.array([x @ [0.1, 0.2, 0.3]]))
    assert np.allclose(factor.predict(X)[0], X @ [0.1, 0.2, 0.3], atol=1e-8)


@pytest.mark.parametrize(
    ("X", "y"),
    [
        (np.full((1, D), np.nan), np.ones(1)),
        (np.ones((1, D)), np.array([np.inf])),
        (np.ones((1, D + 1)), np.ones(1)),
        (np.ones((2, D)), np.ones(1)),
        (np.full((2, D), 1.7e308), np.ones(2)),
    ],
)
def test_a_refused_row_changes_nothing(X: np.ndarray, y: np.ndarray) -> None:
    factor = Factor(Statistics.ridge(D, 0.1))
    factor.append(*random_rows(6, 10))
    before = factor.theta
    with pytest.raises(ValueError, match=r"rows|costs"):
        factor.append(X, y)
    assert np.array_equal(factor.theta, before)
    assert factor.count == 10


def test_a_singular_gram_is_refused() -> None:
    with pytest.raises(ValueError, match="positive definite"):
        Factor(Statistics.zeros(D))
