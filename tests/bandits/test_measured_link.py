"""FedLinUCB-DW with a measured link: theta holds what a type has in common, and nothing of the link."""

from dataclasses import replace

import numpy as np
import pytest

from bandits.fedlinucb import FedLinUCBDW
from bandits.policy import Cost, LinkCheck
from bandits.settings import Settings
from bandits.statistics import Statistics

# Columns: device, edge, link, offload. Arms: all sent, half, nothing.
X = np.array([[0.0, 1.0, 1.0, 1.0], [0.5, 0.5, 0.2, 1.0], [1.0, 0.0, 0.0, 0.0]])
FRONT = (True, False, False, False)
DEVICE_S, EDGE_S = np.array([0.0, 0.05, 0.1]), np.array([0.02, 0.01, 0.0])
MEASURED = Settings(link="measured", beta_prior=0.3, probe_after_frames=8, probe_largest_gap_frames=16)


def learner(settings: Settings = MEASURED) -> FedLinUCBDW:
    return FedLinUCBDW(FRONT, settings, link_column=2)


def cost_of(arm: int, unit_s: float, *, known: bool = True) -> Cost:
    offloads = bool(X[arm, 3])
    link_s = (0.01 + unit_s * X[arm, 2]) * offloads
    total_s = float(DEVICE_S[arm] + EDGE_S[arm] + link_s)
    return Cost(total_s, float(DEVICE_S[arm]), float(link_s) if known else None)


def spend(policy: FedLinUCBDW, unit_s: float, frames: int, *, known: bool = True) -> list[int]:
    arms = []
    for _ in range(frames):
        arm = policy.select(X)
        arms.append(arm)
        policy.update(arm, cost_of(arm, unit_s, known=known))
    return arms


def test_what_is_uploaded_does_not_depend_on_the_link() -> None:
    """So devices of one type may share it, however different their links are."""
    fast, slow = learner(), learner()
    for policy, unit_s in ((fast, 0.01), (slow, 1.0)):
        for arm in (0, 1, 2, 0, 1, 2):
            policy.select(X)
            policy.update(arm, cost_of(arm, unit_s))
    one, other = fast.member.local, slow.member.local
    assert np.allclose(one.gram, other.gram)
    assert np.allclose(one.moment, other.moment)
    assert not one.gram[2].any()
    assert not one.moment[2]


def test_it_follows_a_link_within_a_few_frames_and_comes_back() -> None:
    policy = learner()
    assert spend(policy, 0.01, 40)[-5:] == [0] * 5
    assert spend(policy, 2.0, 30)[-10:].count(2) >= 8
    back = spend(policy, 0.01, 40)
    assert back[-1] == 0
    plain = learner(Settings(probe_after_frames=8, probe_largest_gap_frames=16))
    spend(plain, 0.01, 40)
    spend(plain, 2.0, 30)
    assert spend(plain, 0.01, 40).count(0) <= back.count(0)


def test_a_reply_that_never_came_is_the_links_fault_and_teaches_nothing_of_the_edge() -> None:
    policy = learner()
    spend(policy, 0.01, 40)
    before = policy.member.local
    expected = policy.predict(X)[0]
    policy.select(X)
    policy.update(0, Cost(0.8, 0.0, censored=True))
    assert policy.member.local.count == before.count + 1
    assert not (policy.member.local.gram - before.gram)[1:].any()
    assert policy.predict(X)[0][0] > expected[0] + 0.05
    assert policy.predict(X)[0][2] == pytest.approx(expected[2])


def test_what_was_finished_alone_is_not_the_links_fault() -> None:
    """A fallback that was believed to take as long teaches nothing; what was waited counts, no more."""
    policy, other = learner(), learner()
    for each in (policy, other):
        spend(each, 0.4, 40)
        each.select(X)
    believed_s = policy.predict(X)[0][0]
    before = policy.predict(X)[0]
    policy.update(0, Cost(5.0, 0.0, believed_s / 2, censored=True))
    assert policy.predict(X)[0] == pytest.approx(before, rel=0.05)  # time passes for the estimate, no more
    other.update(0, Cost(5.0, 0.0, 1.0, censored=True))
    # Twice the second that was waited, not the five in all.
    assert before[0] + 0.1 < other.predict(X)[0][0] < 2.2


def test_a_refusal_makes_offloading_dear_for_a_while_whatever_is_sent() -> None:
    policy = learner()
    spend(policy, 0.01, 40)
    before = policy.predict(X)[0]
    for _ in range(3):
        policy.select(X)
        policy.update(0, Cost(0.3, 0.0, 0.01, censored=True, refused=True))
    after = policy.predict(X)[0]
    rise = after - before
    assert rise[0] > 0.05
    assert rise[1] == pytest.approx(rise[0], rel=0.2)
    assert rise[2] == pytest.approx(0.0, abs=1e-3)
    # It is forgotten as an outage is: the device comes back by itself.
    assert spend(policy, 0.01, 120)[-1] == 0


def test_without_stage_times_the_belief_stands_in() -> None:
    policy = learner()
    spend(policy, 0.05, 60, known=False)
    policy.select(X)
    policy.update(0, Cost(0.05))  # nothing but a total
    mean, _ = policy.predict(X)
    assert np.isfinite(mean).all()


def test_a_probe_is_compared_with_what_was_believed_of_the_link_too() -> None:
    policy = learner()
    spend(policy, 2.0, 60)
    assert spend(policy, 2.0, 40).count(2) >= 30  # the gap has doubled: it costs no less than believed
    assert spend(policy, 0.001, 40).count(0) > 5


def test_its_link_goes_through_a_dump_and_into_a_plain_one_not() -> None:
    policy, other, plain = learner(), learner(), learner(Settings())
    spend(policy, 0.4, 30)
    other.load(policy.dump())
    assert np.array_equal(other.predict(X)[0], policy.predict(X)[0])
    plain.load(policy.dump())
    assert plain.dump()["conditions"] is None
    learner().load({name: part for name, part in policy.dump().items() if name != "conditions"})


def test_it_must_be_told_where_the_link_is() -> None:
    with pytest.raises(ValueError, match="which column"):
        FedLinUCBDW(FRONT, MEASURED)
    for bad in ({"link": "guessed"}, {"link_optimism": -1.0}):
        with pytest.raises(ValueError, match="link"):
            Settings(**bad)


def spoiled(policy: FedLinUCBDW, *, edge_s: float, residual_s: float) -> None:
    """Hear of a group that says `edge_s` of a unit at the edge, and whose residuals are so large."""
    rows = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 1.0], [0.0, 0.5, 0.0, 1.0]])
    costs = np.array([0.1, edge_s, edge_s])
    statistics = Statistics.ridge(4, 0.1)
    for sign in (-1.0, 1.0):
        for _ in range(20):
            statistics = statistics.add_rows(rows, costs + sign * residual_s)
    policy.member.adopt("origin", 1, statistics)


def test_nobody_expects_a_stage_to_take_less_than_nothing() -> None:
    policy = learner()
    spend(policy, 0.01, 40)
    spoiled(policy, edge_s=-5.0, residual_s=0.0)
    assert policy.theta[3] < -1.0
    expected_s, _ = policy.predict(X)
    assert (expected_s > 0.0).all()


def test_the_residuals_of_others_do_not_make_a_device_explore_that_has_its_own() -> None:
    known, new = learner(), learner()
    spend(known, 0.01, 40)
    for policy in (known, new):
        spoiled(policy, edge_s=0.02, residual_s=3.0)
    assert new.beta_s > 1.0
    assert known.beta_s < 0.6 * new.beta_s
    assert known._noise_s(known._current_factor()) < 0.05
    other = learner()
    other.load(known.dump())
    assert other.beta_s == known.beta_s
    for bad in ({"own_rows": -1}, {"own_squares": -1.0}, {"own_squares": np.inf}):
        with pytest.raises(ValueError, match="residuals"):
            learner().load({**known.dump(), **bad})


def test_no_probe_is_forced_into_a_link_that_checks_say_is_out() -> None:
    policy = learner(replace(MEASURED, link_checks=True))
    spend(policy, 0.01, 40)
    forced = []
    for frame in range(60):
        out = frame < 40
        arm = policy.select(X)
        forced.append(policy.forced)
        if arm == 2 or not out:
            policy.update(arm, cost_of(arm, 1.0))
        else:
            policy.update(arm, Cost(1.1, float(DEVICE_S[arm]), 1.0, censored=True))
        if arm == 2 or out:
            policy.link_checked(LinkCheck(0.005, 0.5 if out else 1.0 * 0.005 + 0.01, at_least=out))
    assert not any(forced[5:40])
    assert any(forced[40:])
