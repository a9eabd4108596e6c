"""Intervals hold what is true as often as they say, and nothing is said where there are no data."""

import numpy as np
import pytest

from bandits.intervals import CONFIDENCE, Interval, intervals
from bandits.statistics import Statistics

RIDGE = 0.1
THETA = np.array([0.2, 0.05, -0.03, 0.1])


def _group(seed: int, rows: int = 60, noise_s: float = 0.02, *, flat: bool = False) -> Statistics:
    """Rows whose columns rise together, so that they are known together and not one by one."""
    rng = np.random.default_rng(seed)
    level = rng.random((rows, 1))
    X = level + 0.1 * rng.random((rows, 4)) * [1.0, 1.0, 1.0, 0.0 if flat else 1.0]
    if flat:
        X[:, 3] = 0.0
    return Statistics.ridge(4, RIDGE).add_rows(X, X @ THETA + rng.normal(0.0, noise_s, rows))


def test_the_truth_is_inside_as_often_as_is_said() -> None:
    together, alone = np.ones(4), np.array([1.0, 0.0, 0.0, 0.0])
    inside = np.zeros(2)
    for seed in range(400):
        found = intervals(_group(seed), RIDGE, np.stack([together, alone]), [60, 60])
        for place, (x, each) in enumerate(zip((together, alone), found, strict=True)):
            assert each is not None
            inside[place] += each.low <= x @ THETA <= each.high
    # Four standard deviations of a binomial of 400.
    assert np.abs(inside / 400 - CONFIDENCE).max() < 4.0 * np.sqrt(CONFIDENCE * (1.0 - CONFIDENCE) / 400)


def test_the_width_of_a_sum_is_not_that_of_its_parts() -> None:
    """The covariance counts: what rises together is known together; a diagonal would say the opposite."""
    found = intervals(_group(1), RIDGE, np.vstack([np.ones(4), np.eye(4)]), [60] * 5)
    widths = [each.high - each.low for each in found if each is not None]
    assert len(widths) == 5
    assert widths[0] < 0.2 * min(widths[1:])


def test_least_squares_without_the_ridge() -> None:
    group = _group(2)
    theta = np.linalg.solve(group.gram - RIDGE * np.eye(4), group.moment)
    found = intervals(group, RIDGE, np.eye(4), [60] * 4)
    np.testing.assert_allclose([each.mean for each in found if each], theta, rtol=1e-5)


def test_what_no_row_has_asked_is_not_answered_however_small_the_noise() -> None:
    questions = np.array([[1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    for noise_s in (0.0, 1e-9, 0.02):
        known, unseen, half = intervals(_group(3, noise_s=noise_s, flat=True), RIDGE, questions, [60] * 3)
        assert isinstance(known, Interval)
        assert unseen is None
        assert half is None


def test_no_more_rows_than_columns_say_nothing_of_the_noise() -> None:
    assert intervals(_group(4, rows=5), RIDGE, np.ones((1, 4)), [4]) == (None,)
    assert intervals(_group(4, rows=5), RIDGE, np.ones((1, 4)), [5]) != (None,)
    assert intervals(Statistics.ridge(4, RIDGE), RIDGE, np.ones((1, 4)), [0]) == (None,)


def test_another_lambda_than_the_sums_hold_is_no_answer() -> None:
    assert intervals(Statistics.ridge(4, RIDGE), 5.0, np.ones((2, 4)), [60, 60]) == (None, None)


@pytest.mark.parametrize("rows", [30.0, 60.0])
def test_fewer_rows_that_carry_the_noise_make_it_wider(rows: float) -> None:
    (few,), (all_,) = (intervals(_group(5), RIDGE, np.ones((1, 4)), [n]) for n in (rows, 61.0))
    assert few is not None
    assert all_ is not None
    assert few.mean == all_.mean
    assert few.high - few.low > all_.high - all_.low
