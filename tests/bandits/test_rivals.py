"""Rivals: what makes each of them what it is."""

import numpy as np
import pytest

from bandits.epsilon_greedy import EpsilonGreedy
from bandits.factor import Factor
from bandits.lin_ts import LinTS
from bandits.link_estimate import LinkSettings
from bandits.neurosurgeon import Neurosurgeon
from bandits.policy import Cost, LinkCheck, Policy
from bandits.statistics import Statistics

# Columns: work on the device, work at the edge, units sent. Arms: all sent, half, nothing.
X = np.array([[0.0, 1.0, 1.0], [0.5, 0.5, 0.2], [1.0, 0.0, 0.0]])
COMPUTE_S = np.array([0.02, 0.06, 0.1])


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def neurosurgeon(first: int = 32, largest: int = 256) -> Neurosurgeon:
    link = LinkSettings(drift_round_trip=0.1, drift_unit=0.1)
    return Neurosurgeon(
        COMPUTE_S, 3, 2, link=link, probe_after_frames=first, probe_largest_gap_frames=largest
    )


def spend(policy: Policy, seconds_a_unit: float, frames: int) -> list[int]:
    arms = []
    for _ in range(frames):
        arm = policy.select(X)
        arms.append(arm)
        link_s = (0.01 + seconds_a_unit * X[arm, 2]) * bool(X[arm, 2])
        policy.update(arm, Cost(float(COMPUTE_S[arm] + link_s), None, float(link_s)))
    return arms


def test_neurosurgeon_follows_the_bandwidth_and_looks_again_when_it_has_stayed_alone() -> None:
    policy = neurosurgeon(8, 16)
    assert spend(policy, 0.01, 20)[-1] == 0
    slow = spend(policy, 1.0, 200)
    assert slow[100:].count(2) > 80
    assert 0 < slow[100:].count(1) + slow[100:].count(0) < 20  # it looks again
    assert spend(policy, 0.01, 40)[-1] == 0


def test_neurosurgeon_takes_a_lost_reply_as_a_slow_link() -> None:
    policy = neurosurgeon(8, 16)
    assert spend(policy, 0.01, 20)[-1] == 0
    assert policy.select(X) == 0
    policy.update(0, Cost(1.0, None, None, censored=True))
    assert policy.select(X) == 2
    other = neurosurgeon(8, 16)
    other.load(policy.dump())
    assert other.select(X) == 2


def test_neurosurgeon_heeds_link_checks_and_leaves_an_edge_worker_that_refuses() -> None:
    policy = neurosurgeon(8, 16)
    assert spend(policy, 0.01, 20)[-1] == 0
    policy.select(X)
    policy.update(0, Cost(1.0, None, 0.9, censored=True, refused=True))
    assert spend(policy, 0.01, 3) == [2] * 3  # believed for some frames, though the link is well
    assert spend(policy, 0.01, 60)[-1] == 0
    policy.select(X)
    policy.update(0, Cost(1.0, None, 0.9, censored=True))
    policy.link_checked(LinkCheck(0.01, 0.9, at_least=True))  # nor is the broker to be reached
    assert policy.select(X) == 2
    policy.update(2, Cost(0.1))
    policy.link_checked(LinkCheck(0.01, 0.01))
    assert policy.select(X) != 2
    assert not Neurosurgeon(COMPUTE_S, 3, 2, link_checks=False).heeds_link_checks
    assert policy.wants_long_checks


def test_neurosurgeon_never_takes_a_bound_as_a_faster_link() -> None:
    policy = neurosurgeon()
    policy.select(X)
    policy.update(0, Cost(2.0, None, 1.98))  # the link is slow
    believed_s = policy.dump()["between"]["link"]["mean"]
    policy.select(X)
    policy.update(0, Cost(0.05, None, None, censored=True))  # given up early: it took longer than that
    assert (policy.dump()["between"]["link"]["mean"] > 0.9 * believed_s).all()


def test_neurosurgeon_counts_what_it_chose_itself_as_no_probe() -> None:
    policy = neurosurgeon(4, 256)
    for arm in (0, 0, 0, 2, 2, 2, 2):
        policy.select(X)
        policy.update(arm, Cost(float(COMPUTE_S[arm]) + 0.02, None, 0.02))  # on the device nobody was there
    assert policy.select(X) == 0  # a probe is due, but this is its own choice
    policy.update(0, Cost(5.0, None, 4.9))
    assert policy.dump()["probes"]["gap"] == 4
    assert [arm == 2 for arm in spend(policy, 5.0, 5)] == [True] * 4 + [False]  # forced this time
    assert policy.dump()["probes"]["gap"] == 8


def test_neurosurgeon_needs_a_prediction_for_each_arm() -> None:
    with pytest.raises(ValueError, match="contexts"):
        neurosurgeon().select(X[:2])
    with pytest.raises(ValueError, match="compute_s"):
        Neurosurgeon([np.nan], 3, 2)


def test_draws_have_the_covariance_of_the_posterior() -> None:
    rows = np.random.default_rng(2).uniform(-1, 1, (50, 3))
    factor = Factor(Statistics.ridge(3, 0.5).add_rows(rows, rows @ np.array([1.0, 2.0, 3.0])))
    random = rng()
    drawn = np.array([factor.draw(random.standard_normal(3)) for _ in range(20_000)])
    gram = 0.5 * np.eye(3) + rows.T @ rows
    assert np.allclose(drawn.mean(axis=0), factor.theta, atol=0.01)
    assert np.allclose(np.cov(drawn.T) @ gram, np.eye(3), atol=0.05)


@pytest.mark.parametrize("kind", ["lin_ts", "epsilon_greedy"])
def test_they_settle_on_the_best_arm_and_go_on_from_a_dump(kind: str) -> None:
    def make() -> Policy:
        return LinTS(3, rng()) if kind == "lin_ts" else EpsilonGreedy(3, rng())

    policy = make()
    assert spend(policy, 0.01, 300)[-50:].count(0) > 40
    assert spend(policy, 3.0, 1000)[-50:].count(2) > (40 if kind == "epsilon_greedy" else 0)
    one, other = make(), make()
    spend(one, 0.01, 50)
    other.load(one.dump())
    assert str(other.dump()) == str(one.dump())


GREEDY = EpsilonGreedy(3, rng(), epsilon=0.0, opening_frames=1e-9)


@pytest.mark.parametrize("policy", [LinTS(3, rng()), GREEDY])
def test_a_lost_reply_never_makes_an_arm_look_cheap(policy: Policy) -> None:
    policy.select(X)
    for cost in (Cost(2.0), Cost(2.0), Cost(0.001, censored=True)):
        policy.update(0, cost)
    policy.update(2, Cost(0.5))
    assert sum(policy.select(X) == 0 for _ in range(20)) == 0


def test_a_greedy_one_that_has_seen_nothing_plays_the_first_arm() -> None:
    assert EpsilonGreedy(3, rng(), epsilon=0.0, opening_frames=1e-9).select(X) == 0


def test_settings_and_arms_are_checked() -> None:
    with pytest.raises(ValueError, match="spread_s"):
        LinTS(3, rng(), spread_s=-1.0)
    for bad in ({"arms": 0}, {"epsilon": 1.5}, {"smoothing": 0.0}, {"opening_frames": 0.0}):
        with pytest.raises(ValueError, match="expected"):
            EpsilonGreedy(**{"arms": 3, "random": rng(), **bad})  # type: ignore[arg-type]
    greedy = EpsilonGreedy(3, rng())
    with pytest.raises(ValueError, match="contexts"):
        greedy.select(X[:2])
    with pytest.raises(ValueError, match="not among"):
        greedy.update(3, Cost(1.0))
    with pytest.raises(ValueError, match="means_s"):
        greedy.load({"means_s": np.zeros(2), "counts": np.zeros(3), "frames": 0})
