"""How slow a stage is at present: the estimate, and a learner that has it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandits.fedlinucb import FedLinUCBDW
from bandits.policy import Cost
from bandits.settings import Settings
from bandits.slowness_estimate import SlownessEstimate, SlownessSettings
from bandits.statistics import Statistics

# Columns: device, edge, link, offload. Arms: all sent, half, nothing.
X = np.array([[0.0, 1.0, 1.0, 1.0], [0.5, 0.5, 0.2, 1.0], [1.0, 0.0, 0.0, 0.0]])
FRONT = (True, False, False, False)
DEVICE_S, EDGE_S, LINK_S = (
    np.array([0.0, 0.05, 0.1]),
    np.array([0.03, 0.015, 0.0]),
    np.array([0.02, 0.01, 0.0]),
)
MEASURED = Settings(
    link="measured", slowness="measured", beta_prior=0.3, probe_after_frames=8, probe_largest_gap_frames=16
)


def learner(settings: Settings = MEASURED) -> FedLinUCBDW:
    return FedLinUCBDW(FRONT, settings, link_column=2)


def spend(policy: FedLinUCBDW, frames: int, *, device: float = 1.0, edge: float = 1.0) -> list[int]:
    arms = []
    for _ in range(frames):
        arm = policy.select(X)
        arms.append(arm)
        device_s = device * DEVICE_S[arm]
        total_s = device_s + edge * EDGE_S[arm] + LINK_S[arm]
        policy.update(arm, Cost(float(total_s), float(device_s), float(LINK_S[arm]) if arm < 2 else None))
    return arms


def test_it_follows_a_factor_and_forgets_one_that_nobody_sees_any_more() -> None:
    estimate = SlownessEstimate()
    for _ in range(30):
        estimate.pass_time()
        estimate.observe(0.2, 0.1, 0.0)
    assert estimate.factor == pytest.approx(2.0, rel=0.1)
    estimate.pass_time(300.0)
    assert estimate.factor == pytest.approx(1.0, abs=0.01)


def test_what_is_hardly_known_or_hardly_there_says_little() -> None:
    sure, unsure, tiny = SlownessEstimate(), SlownessEstimate(), SlownessEstimate()
    for estimate, expected_s, spread_s in ((sure, 0.1, 0.0), (unsure, 0.1, 1.0), (tiny, 0.001, 0.0)):
        estimate.pass_time()
        estimate.observe(10.0 * expected_s, expected_s, spread_s)
    assert sure.factor > 1.1
    assert 1.0 < unsure.factor < 1.01
    assert tiny.factor == 1.0


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(-1e6, 1e6), st.floats(0, 1e6)), max_size=30))
def test_whatever_it_sees_it_stays_positive_and_finite(seen: list[tuple[float, float, float]]) -> None:
    estimate = SlownessEstimate()
    for measured_s, expected_s, spread_s in seen:
        estimate.pass_time()
        estimate.observe(measured_s, expected_s, spread_s)
    assert 0.0 < estimate.factor < math.inf
    other = SlownessEstimate()
    other.load(estimate.dump())
    assert other.dump() == estimate.dump()


def test_what_was_faster_than_believed_stays_so_until_it_is_seen_again() -> None:
    fast, slow = SlownessEstimate(), SlownessEstimate()
    for estimate, measured_s in ((fast, 0.05), (slow, 0.2)):
        estimate.pass_time()
        estimate.observe(measured_s, 0.1, 0.0)
        estimate.pass_time(300.0)
    assert fast.factor == pytest.approx(0.5, rel=0.1)
    assert slow.factor == pytest.approx(1.0, abs=0.01)


def test_a_device_looks_once_at_what_its_early_exits_have_claimed() -> None:
    """They claim twice what the device takes; believed, everything would be sent for ever."""

    def played(look_within: float | None, claimed: float) -> list[int]:
        policy = learner(replace(MEASURED, look_within=look_within, probe_after_frames=None))
        exits = Statistics.zeros(4).add_rows(np.tile(X[2], (40, 1)), np.full(40, claimed * DEVICE_S[2]))
        policy.member.join(exits)
        return spend(policy, 60, edge=3.0)  # 110 ms at the edge, 100 ms on the device

    assert played(None, 2.0).count(2) == 0
    looked = played(2.0, 2.0)
    assert looked[0] == 2
    assert looked[-20:].count(2) > 15
    assert played(1.0, 2.0).count(2) == 0  # nobody would have thought of it


def test_who_has_looked_does_not_look_again_after_a_restart() -> None:
    policy = learner(replace(MEASURED, look_within=1e6))
    assert spend(policy, 2)[0] == 2
    other = learner(replace(MEASURED, look_within=1e6))
    other.load(policy.dump())
    policy.select(X)
    other.select(X)
    assert other.dump()["looked"] is True


@pytest.mark.parametrize(
    "bad",
    [
        {"prior": -1.0},
        {"usual_weight": 2.0},
        {"noise": 0.0},
        {"memory_frames": math.inf},
        {"floor_s": 0.0},
        {"drift": -1.0},
    ],
)
def test_settings_that_no_filter_can_have_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="slowness"):
        SlownessSettings(**bad)


def test_nonsense_is_refused() -> None:
    estimate = SlownessEstimate()
    for nonsense in ((-1.0, 0.1, 0.0), (0.1, math.nan, 0.0), (0.1, 0.1, -1.0)):
        with pytest.raises(ValueError, match="says nothing"):
            estimate.observe(*nonsense)
    bad = ({"log": math.nan}, {"variance": -1.0}, {"usual": math.inf}, {"seen": -1.0})
    for state in ({"log": 0.0, "variance": 1.0, **each} for each in bad):
        with pytest.raises(ValueError, match="is none"):
            estimate.load(state)


def test_a_loaded_edge_worker_is_left_and_found_again() -> None:
    policy = learner()
    assert spend(policy, 40)[-5:] == [0] * 5
    assert spend(policy, 20, edge=8.0)[-8:].count(2) >= 6
    assert spend(policy, 80)[-5:] == [0] * 5


def test_a_device_that_throttles_sends_more_and_one_frame_tells() -> None:
    # Alone is best while the device is cool: the link takes 20 ms more than the device.
    policy = learner()
    spend(policy, 40, edge=5.0)
    before = policy.predict(X)[0]
    spend(policy, 6, device=3.0, edge=5.0)
    after = policy.predict(X)[0]
    assert after[2] > 1.5 * before[2]
    assert after[1] > before[1] + 0.02  # an arm that was not played moves with it


def test_what_is_particular_to_an_hour_is_not_taught_to_the_group() -> None:
    def theta(settings: Settings) -> float:
        policy = learner(settings)
        spend(policy, 60)
        usual = policy.theta[1]
        spend(policy, 60, edge=6.0)
        return float(policy.theta[1] / usual)

    plain = Settings(link="measured", beta_prior=0.3, probe_after_frames=8, probe_largest_gap_frames=16)
    assert theta(MEASURED) < 0.8 * theta(plain)


def test_its_conditions_go_through_a_dump_and_into_one_without_them_not() -> None:
    policy, other = learner(), learner()
    spend(policy, 40)
    spend(policy, 5, device=2.0, edge=3.0)
    other.load(policy.dump())
    assert other.predict(X)[0] == pytest.approx(policy.predict(X)[0], rel=1e-12)
    plain = learner(Settings(link="measured"))
    plain.load(policy.dump())
    assert plain.dump()["conditions"]["edge"] is None
    late = learner()
    late.load(plain.dump())
    assert late.dump()["conditions"]["edge"] == SlownessEstimate().dump()


def test_it_needs_a_measured_link() -> None:
    with pytest.raises(ValueError, match="slowness"):
        Settings(slowness="guessed")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs a measured link"):
        Settings(slowness="measured")
