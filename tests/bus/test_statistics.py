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


@given(honest(), st.sampled_from([-1e-12, 1e9]))
def test_costs_below_zero_or_beyond_the_bound_do_not(
    statistics: tuple[Array, Array, int, float], sum_squares: float
) -> None:
    gram, moment, count, _ = statistics
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


def test_packed_bytes_must_fit_the_dimension() -> None:
    with pytest.raises(RemoteProtocolError, match="tensor"):
        unpack_symmetric(b"\0" * 8, 2)
