"""One device's link, as its transfers tell it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandits.link_estimate import LinkEstimate, LinkSettings

UNITS = np.array([0.01, 0.1, 1.0, 4.0])


def taught(round_trip_s: float, unit_s: float, frames: int = 60, **settings: float) -> LinkEstimate:
    link, rng = LinkEstimate(LinkSettings(**settings)), np.random.default_rng(1)
    for _ in range(frames):
        link.pass_time()
        units = float(rng.choice(UNITS))
        link.observe(units, (round_trip_s + unit_s * units) * float(np.exp(0.05 * rng.standard_normal())))
    return link


@pytest.mark.parametrize("round_trip_s", [0.004, 0.06])
@pytest.mark.parametrize("unit_s", [0.03, 0.15, 2.0])
def test_it_finds_round_trip_and_rate(round_trip_s: float, unit_s: float) -> None:
    expected, spread = taught(round_trip_s, unit_s, 200).predict(UNITS)
    assert np.allclose(expected, round_trip_s + unit_s * UNITS, rtol=0.3, atol=0.01)
    assert (spread < expected).all()


def test_one_transfer_says_what_all_amounts_will_take() -> None:
    """What theta learns arm by arm, a rate says at once: this is why the link is measured."""
    link = taught(0.02, 0.1)
    for _ in range(3):
        link.pass_time()
        link.observe(1.0, 1.02)  # ten times slower
    expected, _ = link.predict(UNITS)
    assert expected[3] > 1.5


def test_an_outage_is_believed_while_it_lasts_and_soon_after_it_no_more() -> None:
    link = taught(0.02, 0.1)
    usual, _ = link.predict(UNITS)
    for _ in range(5):
        link.pass_time()
        link.observe(0.1, 2.0)
    assert (link.predict(UNITS)[0] > 5.0 * usual).all()
    link.pass_time(100.0)
    assert (link.predict(UNITS)[0] < 2.0 * usual).all()


def test_a_link_that_stays_slow_becomes_what_is_usual() -> None:
    link = taught(0.02, 0.1)
    for _ in range(300):
        link.pass_time()
        link.observe(1.0, 1.02)
    link.pass_time(1000.0)
    assert link.predict(UNITS)[0][2] > 0.8


def test_what_it_knows_grows_old_and_never_less_than_it_knew_at_first() -> None:
    link = taught(0.02, 0.1)
    _, fresh = link.predict(UNITS)
    link.pass_time(10.0)
    _, old = link.predict(UNITS)
    link.pass_time(1e6)
    expected, oldest = link.predict(UNITS)
    assert (fresh < old).all()
    assert (old < oldest).all()
    assert (oldest <= expected + 1e-12).all()


@given(
    st.lists(
        st.tuples(st.floats(0.0, 100.0), st.floats(0.0, 120.0), st.floats(0.0, 1e5)), min_size=1, max_size=40
    )
)
def test_whatever_it_sees_it_stays_positive_and_finite(transfers: list[tuple[float, float, float]]) -> None:
    link = LinkEstimate()
    for units, seconds, frames in transfers:
        link.pass_time(frames)
        link.observe(units, seconds)
        expected, spread = link.predict(np.array([0.0, 1e-3, 1.0, 100.0]))
        assert np.isfinite(expected).all()
        assert np.isfinite(spread).all()
        assert (expected > 0.0).all()
        assert (np.diff(expected) > 0.0).all()
        assert (np.linalg.eigvalsh(link.dump()["covariance"]) >= -1e-12).all()


def test_a_bound_that_was_believed_anyway_is_no_news_and_a_higher_one_is() -> None:
    estimate = LinkEstimate()
    before = estimate.dump()
    estimate.observe_at_least(1.0, 0.01)
    assert all(np.array_equal(before[name], value) for name, value in estimate.dump().items())
    estimate.observe_at_least(1.0, 1.0)
    assert estimate.mean[1] > before["mean"][1]
    with pytest.raises(ValueError, match="is none"):
        estimate.observe_at_least(1.0, float("nan"))


def test_a_dump_is_the_whole_of_it_and_nonsense_is_refused() -> None:
    link, other = taught(0.03, 0.2), LinkEstimate()
    other.load(link.dump())
    assert np.array_equal(other.mean, link.mean)
    assert np.allclose(other.predict(UNITS)[1], link.predict(UNITS)[1])
    with pytest.raises(ValueError, match="mean"):
        other.load({**link.dump(), "mean": np.array([np.nan, 1.0])})
    for units, seconds in ((-1.0, 1.0), (1.0, -1.0), (np.nan, 1.0), (1.0, np.inf)):
        with pytest.raises(ValueError, match="transfer"):
            link.observe(units, seconds)
    for bad in (
        {"prior": 0.0},
        {"drift_unit": -0.1},
        {"noise": np.inf},
        {"drift_round_trip": np.nan},
        {"usual_weight": 2.0},
    ):
        with pytest.raises(ValueError, match="settings of a link"):
            LinkSettings(**bad)


def test_a_rate_is_unknown_until_transfers_differ_enough_and_only_then_usual() -> None:
    link = LinkEstimate(LinkSettings())
    unknown = [link.unit_unknown]  # nothing has been sent at all
    for _ in range(3):
        link.pass_time()
        link.observe(0.08, 0.009)  # a round trip, or a rate: as good as the same
    unknown.append(link.unit_unknown)
    link.pass_time()
    link.observe(1.0, 0.02)
    assert [*unknown, link.unit_unknown] == [False, True, False]
    told_s = link.expected_s(1.0)
    for _ in range(20):
        link.pass_time()
        link.observe(0.08, 0.009)
    assert link.expected_s(1.0) < 1.5 * told_s  # not what was guessed before
    restarted = LinkEstimate(LinkSettings())
    restarted.load(link.dump())
    assert not restarted.unit_unknown


def test_a_small_transfer_that_took_too_long_may_be_the_rate_as_likely_as_the_way() -> None:
    link = LinkEstimate()
    for _ in range(40):
        link.pass_time()
        link.observe(1.0, 0.12)
        link.observe(0.01, 0.021)
    small_s, whole_s = link.expected_s(0.01), link.expected_s(1.0)
    link.suspect(0.01, small_s + 0.2)
    assert link.expected_s(0.01) == pytest.approx(small_s + 0.2, rel=0.01)
    assert link.expected_s(1.0) == pytest.approx(whole_s + 0.1 + 0.1 / 0.01, rel=0.01)
    for units, seconds in ((0.0, 0.1), (0.01, math.nan), (math.inf, 0.1), (0.01, -0.1)):
        with pytest.raises(ValueError, match="is none"):
            link.suspect(units, seconds)
