"""Fixed arm, two-arm switch, LinUCB, ANS, and the plain values they share."""

import math

import numpy as np
import pytest

from bandits.ans import ANS
from bandits.fixed import FixedArm
from bandits.linucb import LinUCB
from bandits.offline import experience, next_exit, traversal_weight
from bandits.policy import Cost, Policy
from bandits.radius import theory_radius
from bandits.statistics import Statistics
from bandits.two_arm import TwoArmSwitch

X = np.array([[0.0, 1.0, 1.0], [0.5, 0.5, 1.0], [1.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in ("total_s", "device_s") for value in (math.nan, math.inf)]
    + [("device_s", -0.1)],
)
def test_a_cost_is_finite_and_a_device_takes_its_time(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        Cost(**{"total_s": 1.0, name: value})  # type: ignore[arg-type]


def test_the_rest_is_what_the_device_did_not_take() -> None:
    assert Cost(0.3).rest_s is None
    assert Cost(0.3, 0.1).rest_s == pytest.approx(0.2)
    assert Cost(0.1, 0.3).rest_s == 0.0  # clocks of two stages may disagree by a little


def test_a_fixed_arm_stays() -> None:
    policy: Policy = FixedArm(1, "edge_only")
    policy.update(1, Cost(9.0))
    policy.load(policy.dump())
    assert policy.select(X) == 1
    with pytest.raises(ValueError, match="negative"):
        FixedArm(-1, "x")
    with pytest.raises(ValueError, match="not among"):
        FixedArm(3, "x").select(X)


def play(policy: Policy, costs_s: list[float], frames: int) -> list[int]:
    arms = []
    for _ in range(frames):
        arms.append(policy.select(X))
        policy.update(arms[-1], Cost(costs_s[arms[-1]]))
    return arms


def test_the_switch_opens_evenly_plays_the_better_and_probes_rarely() -> None:
    policy = TwoArmSwitch(2, 0, opening_frames=2, probe_every_frames=10)
    arms = play(policy, [0.1, 9.0, 0.3], 40)
    assert arms[:4] == [2, 0, 2, 0]
    assert [frame for frame, arm in enumerate(arms[4:], 4) if arm == 2] == [9, 19, 29, 39]


def test_the_switch_follows_a_link_that_changes_and_survives_a_restart() -> None:
    policy = TwoArmSwitch(2, 0, probe_every_frames=10)
    play(policy, [0.1, 9.0, 0.3], 60)
    restarted = TwoArmSwitch(2, 0, probe_every_frames=10)
    restarted.load(policy.dump())
    assert play(restarted, [0.9, 9.0, 0.3], 40)[-5:] == play(policy, [0.9, 9.0, 0.3], 40)[-5:]
    assert policy.select(X) == 2


def test_a_bound_never_makes_an_arm_cheaper() -> None:
    policy = TwoArmSwitch(2, 0, opening_frames=1)
    play(policy, [0.5, 9.0, 0.6], 2)
    policy.update(0, Cost(0.01, censored=True))
    assert policy.dump()["means_s"][1] == 0.5
    policy.update(0, Cost(2.5, censored=True))
    assert policy.dump()["means_s"][1] > 0.6


def test_the_switch_has_exactly_two_arms() -> None:
    for arms in ((1, 1), (-1, 0)):
        with pytest.raises(ValueError, match="two arms"):
            TwoArmSwitch(*arms)
    for settings in ({"opening_frames": 0}, {"probe_every_frames": 1}, {"smoothing": 0.0}):
        with pytest.raises(ValueError, match="expected"):
            TwoArmSwitch(0, 1, **settings)
    with pytest.raises(ValueError, match="not among"):
        TwoArmSwitch(2, 3).select(X)
    with pytest.raises(ValueError, match="none of"):
        TwoArmSwitch(2, 0).update(1, Cost(1.0))


def test_linucb_equals_the_formula_by_explicit_solve() -> None:
    rng = np.random.default_rng(0)
    policy = LinUCB(3, regularisation=0.2, beta_s=0.7)
    V, b = 0.2 * np.eye(3), np.zeros(3)
    for _ in range(50):
        contexts = rng.uniform(-1, 1, (8, 3))
        theta = np.linalg.solve(V, b)
        width = np.sqrt(np.einsum("ki,ik->k", contexts, np.linalg.solve(V, contexts.T)))
        expected = int(np.argmin(contexts @ theta - 0.7 * width))
        assert policy.select(contexts) == expected
        cost = float(rng.uniform(0, 1))
        policy.update(expected, Cost(cost))
        V += np.outer(contexts[expected], contexts[expected])
        b += cost * contexts[expected]


def test_linucb_counts_a_censored_row_as_bound_or_prediction() -> None:
    prior = experience([(X[0], 2.0)] * 50, 3)
    policy = LinUCB(3, prior=prior, regularisation=1e-6)
    policy.select(X)
    before = policy.statistics
    policy.update(0, Cost(0.5, censored=True))
    assert policy.statistics.count == before.count + 1
    assert policy.statistics.moment[1] - before.moment[1] == pytest.approx(2.0, abs=1e-3)
    policy.update(0, Cost(5.0, censored=True))
    assert policy.statistics.moment[1] - before.moment[1] == pytest.approx(7.0, abs=1e-3)


def test_linucb_refuses_without_harm_and_restarts_to_the_bit() -> None:
    policy = LinUCB(3)
    with pytest.raises(ValueError, match="not among"):
        policy.update(0, Cost(1.0))
    for bad in (np.ones((2, 4)), np.full((2, 3), np.nan), np.empty((0, 3))):
        with pytest.raises(ValueError, match="contexts"):
            policy.select(bad)
    play(policy, [0.3, 0.2, 0.4], 20)
    with pytest.raises(ValueError, match="semidefinite"):
        policy.load(Statistics(-np.eye(3), np.zeros(3), 0, 0.0).dump())
    twin = LinUCB(3)
    twin.load(policy.dump())
    assert np.array_equal(twin.statistics.gram, policy.statistics.gram)
    assert play(twin, [0.3, 0.2, 0.4], 5) == play(policy, [0.3, 0.2, 0.4], 5)
    for beta_s in (-1.0, math.inf):
        with pytest.raises(ValueError, match="beta_s"):
            LinUCB(3, beta_s=beta_s)
    with pytest.raises(ValueError, match="semidefinite"):
        LinUCB(3, prior=Statistics(-np.eye(3), np.zeros(3), 0, 0.0))


def ans(a_s: float = 0.3, regularisation: float = 0.1) -> ANS:
    return ANS([0.0, 0.05, 0.1], [False, True, True], a_s=a_s, regularisation=regularisation)


def test_ans_forces_an_offload_every_fourth_frame_and_then_less_often() -> None:
    policy = ans(a_s=0.0)
    arms = play(policy, [0.9, 0.9, 0.1], 1400)
    offloaded = [frame + 1 for frame, arm in enumerate(arms) if arm != 2]
    # ceil(T^0.25) is 4 at T = 200, then 5 and 6; once the link's cost is known only forced frames offload.
    assert [f for f in offloaded if 8 < f <= 200] == list(range(12, 201, 4))
    assert [f - 200 for f in offloaded if 200 < f <= 600] == list(range(5, 401, 5))
    assert [f - 600 for f in offloaded if 600 < f <= 1400] == list(range(6, 801, 6))


def test_ans_leaves_the_device_when_the_link_turns_out_to_be_fast() -> None:
    assert play(ans(), [0.02, 0.06, 0.1], 100)[-1] == 0


def test_ans_learns_the_rest_only_and_nothing_on_the_device() -> None:
    policy = ans(regularisation=1e-9)
    policy.select(X)
    policy.update(2, Cost(0.1))
    assert policy.dump()["statistics"]["count"] == 0
    policy.update(1, Cost(0.30))  # less the profiled 0.05
    policy.update(1, Cost(0.27, device_s=0.02))  # measured: the profile does not matter
    policy.update(1, Cost(0.01))  # less than the profile: never negative
    assert policy.dump()["statistics"]["moment"][1] == pytest.approx(0.25 + 0.25 + 0.0)


def test_ans_keeps_a_censored_frame() -> None:
    policy = ans(regularisation=1e-9)
    policy.select(X)
    policy.update(1, Cost(0.45, device_s=0.05))
    policy.update(1, Cost(0.06, device_s=0.05, censored=True))
    assert policy.dump()["statistics"]["moment"][1] == pytest.approx(0.8, abs=1e-6)


def test_ans_explores_less_on_key_frames() -> None:
    # One known offloading arm, one unknown: only the bonus can make the unknown one look better.
    policy = ANS([0.0, 0.0, 1.0], [True, True, False], a_s=0.3, regularisation=1.0)
    contexts = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
    policy.select(contexts)
    policy.update(0, Cost(-0.0))
    for _ in range(8):
        policy.update(1, Cost(0.2))
    policy.key_frame = False
    assert policy.select(contexts) == 0
    weight_other, weight_key = math.sqrt(0.8), math.sqrt(0.2)
    assert weight_key < weight_other
    scores = [0.3 * weight_key / math.sqrt(2), 0.3 * weight_key / 3]
    policy.key_frame = True
    assert policy.select(contexts) == int(np.argmin([0 - scores[0], 8 * 0.2 / 9 - scores[1]]))


def test_ans_restarts_in_the_middle_of_a_phase() -> None:
    policy, twin = ans(), ans()
    play(policy, [0.9, 0.9, 0.1], 203)
    twin.load(policy.dump())
    assert play(twin, [0.9, 0.9, 0.1], 30) == play(policy, [0.9, 0.9, 0.1], 30)


def test_ans_without_an_offloading_arm_stays_on_the_device() -> None:
    policy = ANS([0.1], [False, True, True])
    assert {policy.select(X[2:]) for _ in range(8)} == {0}


def test_ans_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="a_s"):
        ans(a_s=-1.0)
    with pytest.raises(ValueError, match="edge"):
        ANS([0.1], [False, False])
    with pytest.raises(ValueError, match="edge_columns"):
        ANS([0.1], [[True], [False]])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="contexts"):
        ans().select(X[:2])


def test_exits_are_stratified() -> None:
    done = [0, 0, 0]
    for _ in range(40):
        done[next_exit(done)] += 1
    assert done == [14, 13, 13]
    with pytest.raises(ValueError, match="no exits"):
        next_exit([])


def test_experience_is_the_weighted_sum_of_its_rows() -> None:
    assert traversal_weight(4) == 0.25
    with pytest.raises(ValueError, match="no exits"):
        traversal_weight(0)
    statistics = experience([(X[2], 0.1), (X[2], 0.3)], 3, weight=0.5)
    assert np.allclose(statistics.gram, np.diag([1.0, 0, 0]))
    assert np.allclose(statistics.moment, [0.2, 0, 0])
    assert statistics.count == 2
    assert experience([], 3).count == 0
    with pytest.raises(ValueError, match="weight"):
        experience([(X[2], 0.1)], 3, weight=1.5)


def test_the_theory_radius_is_the_written_formula() -> None:
    arguments = {"dimension": 15, "members": 4, "rounds": 1000, "alpha": 0.5, "regularisation": 0.1}
    radius = theory_radius(**arguments, noise_s=0.01, parameter_norm_s=0.5, delta=0.1, groups=2)  # type: ignore[arg-type]
    inside = 0.01 * math.sqrt(15 * math.log((1 + 1000 / 0.05) / 0.05)) + math.sqrt(0.1) * 0.5
    assert radius == pytest.approx(math.sqrt(0.1) * 0.5 + (math.sqrt(3.0) + 4.0) * inside)
    assert theory_radius(**arguments, noise_s=0.01, parameter_norm_s=0.5) < radius  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="positive"):
        theory_radius(**arguments, noise_s=0.01, parameter_norm_s=0.5, delta=1.0)  # type: ignore[arg-type]
