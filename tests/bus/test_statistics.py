import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import RemoteProtocolError
from bus.statistics import Array, Bounds, pack_symmetric, require_plausible, unpack_symmetric


def rows_to_statistics(rows: Array, costs: Array) -> tuple[Array, Array, int, float]:
    return rows.T @ rows, rows.T @ costs, len(rows), float(costs @ costs)


@st.composite
def honest(draw: st.DrawFn) -> tuple[Array, Array, int, float]:
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    count, dimension = draw(st.integers(1, 60)), draw(st.integers(1, 16))
    rows = random.uniform(-2, 2, (count, dimension)) * random.choice([0.0, 1e-6, 1.0], dimension)
    return rows_to_statistics(rows, random.uniform(0, 3, count))


@given(honest())
def test_honest_statistics_pass_and_survive_packing(statistics: tuple[Array, Array, int, float]) -> None:
    gram = statistics[0]
    require_plausible(*statistics)
    assert np.array_equal(unpack_symmetric(bytes(pack_symmetric(gram)), len(gram)), gram)


@given(honest(), st.sampled_from(["flip", "scale_moment", "negative", "scale_cost"]))
def test_bent_statistics_do_not(statistics: tuple[Array, Array, int, float], how: str) -> None:
    gram, moment, count, sum_squares = statistics
    if how == "flip" and np.trace(gram) > 1e-9:
        gram = -gram
    elif how == "scale_moment" and np.abs(moment).max() > 1e-3:
        moment = moment * 100 * np.sqrt(np.trace(gram) * sum_squares) / np.abs(moment).max()
    elif how == "negative":
        sum_squares = -1e-12
    else:
        sum_squares = 1e9
    with pytest.raises(RemoteProtocolError, match="implausible"):
        require_plausible(gram, moment, count, sum_squares)


@pytest.mark.parametrize("place", ["gram", "moment", "sum_squares"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite(place: str, value: float) -> None:
    gram, moment, sum_squares = np.eye(2), np.zeros(2), 1.0
    if place == "gram":
        gram[0, 0] = value
    elif place == "moment":
        moment[0] = value
    else:
        sum_squares = value
    with pytest.raises(RemoteProtocolError, match="not_finite"):
        require_plausible(gram, moment, 1, sum_squares)


@pytest.mark.parametrize("count", [0, -1, 11])
def test_the_weight_of_one_upload_is_capped(count: int) -> None:
    with pytest.raises(RemoteProtocolError, match=r"rows in one upload, 1 to 10 are allowed"):
        require_plausible(np.eye(1), np.zeros(1), count, 0.0, Bounds(rows=10))


def test_a_gram_larger_than_its_rows_allow() -> None:
    with pytest.raises(RemoteProtocolError, match="too large for 2 rows"):
        require_plausible(np.eye(2) * 300, np.zeros(2), 2, 0.0)


def test_a_moment_that_no_rows_have() -> None:
    # gram says the rows are zero, the moment says they are not
    with pytest.raises(RemoteProtocolError, match="not PSD"):
        require_plausible(np.zeros((2, 2)), np.array([1e-3, 0.0]), 5, 1.0)


def test_packed_bytes_must_fit_the_dimension() -> None:
    with pytest.raises(RemoteProtocolError, match="tensor"):
        unpack_symmetric(b"\0" * 8, 2)
