"""FedLinUCB-DW on simulated types: the invariants that a choice of arms can show."""

from typing import Any

import numpy as np
import pytest

from bandits.fedlinucb import FedLinUCBDW
from bandits.group import Group
from bandits.linucb import LinUCB
from bandits.offsets import ArmOffsets
from bandits.policy import Cost
from bandits.probing import ProbeSchedule
from bandits.settings import Settings
from bandits.statistics import Statistics
from tests.bandits.simulated_type import draw, exchange, make_type, warm_start

KIND = make_type(1)
D = KIND.contexts.shape[1]
PLAIN = Settings(beta_s=0.05, feedback="total", offset_pseudo_rows=None, probe_after_frames=None)


def learner(settings: Settings = PLAIN, **more: Any) -> FedLinUCBDW:
    return FedLinUCBDW(KIND.device_columns, settings, **more)


def play(policy: Any, frames: int, seed: int = 0, kind: Any = KIND) -> list[int]:
    rng = np.random.default_rng(seed)
    arms = []
    for _ in range(frames):
        arms.append(policy.select(kind.contexts))
        policy.update(arms[-1], draw(kind, arms[-1], rng))
    return arms


def test_one_device_is_linucb_with_the_same_prior() -> None:
    ours = learner()
    warm_start(ours, KIND, np.random.default_rng(3))
    single = LinUCB(D, beta_s=0.05, prior=ours.member.take_upload().statistics)
    assert play(ours, 120) == play(single, 120)


def test_fresh_and_synchronous_devices_are_one_central_linucb() -> None:
    settings = Settings(
        beta_s=0.05, alpha=0.0, feedback="total", offset_pseudo_rows=None, probe_after_frames=None
    )
    devices, group, central = [learner(settings) for _ in range(3)], Group(D, "o"), LinUCB(D, beta_s=0.05)
    rng = np.random.default_rng(4)
    for frame in range(150):
        policy = devices[frame % 3]
        arm = policy.select(KIND.contexts)
        assert arm == central.select(KIND.contexts)
        cost = draw(KIND, arm, rng)
        policy.update(arm, cost)
        central.update(arm, cost)
        exchange(devices, group, frame % 3)
    assert np.allclose(group.statistics.gram, central.statistics.gram)


@pytest.mark.parametrize("feedback", ["total", "split"])
def test_the_device_only_arm_never_changes_the_back_link_and_offload_blocks(feedback: Any) -> None:
    policy = learner(Settings(feedback=feedback))
    policy.select(KIND.contexts)
    before = policy.member.view()
    for _ in range(20):
        policy.update(KIND.device_only, Cost(0.15, 0.15))
    after, edge = policy.member.view(), ~KIND.device_columns
    assert np.array_equal(after.gram[edge], before.gram[edge])
    assert np.array_equal(after.moment[edge], before.moment[edge])
    assert after.count == before.count + 20


def test_split_feedback_adds_the_device_part_and_the_rest() -> None:
    policy = learner(Settings(feedback="split"))
    policy.select(KIND.contexts)
    policy.update(1, Cost(0.3, 0.1))
    x = KIND.contexts[1]
    front, rest = np.where(KIND.device_columns, x, 0), np.where(KIND.device_columns, 0, x)
    assert np.allclose(policy.member.local.gram, np.outer(front, front) + np.outer(rest, rest))
    assert np.allclose(policy.member.local.moment, 0.1 * front + 0.2 * rest)
    policy.update(1, Cost(0.3))
    assert policy.member.local.count == 3


def test_a_censored_cost_is_never_below_the_prediction_and_never_dropped() -> None:
    policy = learner(Settings(regularisation=1e-6, feedback="total", offset_pseudo_rows=None, beta_s=0.0))
    policy.select(KIND.contexts)
    for _ in range(5):
        policy.update(1, Cost(0.4))
    before = policy.member.local
    policy.update(1, Cost(0.1, censored=True))
    added = policy.member.local.moment - before.moment
    assert np.allclose(added, 0.4 * KIND.contexts[1], atol=1e-4)


def test_the_strict_view_ignores_local_rows_until_they_come_back() -> None:
    policy, group = learner(Settings(view="strict", alpha=1000.0)), Group(D, "o")
    play(policy, 3)
    assert np.array_equal(policy.theta, np.zeros(D))
    upload = policy.member.take_upload()
    answer = group.merge("d", "i", upload.boot, upload.seq, upload.statistics)
    policy.member.acknowledged(upload.boot, upload.seq, "o", answer.version)
    policy.member.adopt("o", group.version, group.statistics)
    assert np.abs(policy.theta).max() > 0.0


def test_a_link_that_improves_late_brings_ours_back_but_not_plain_linucb() -> None:
    slow = make_type(1, device_s=0.15, mbit_s=0.5, misfit=0.0)
    fast = make_type(1, device_s=0.15, mbit_s=50.0, edge_ratio=10.0, misfit=0.0)
    plain, ours = LinUCB(D, beta_s=0.02), learner(Settings())
    for policy in (plain, ours):
        assert play(policy, 300, kind=slow)[-10:].count(slow.device_only) >= 8
        arms = play(policy, 600, seed=1, kind=fast)
        stayed = arms[-50:].count(slow.device_only)
        assert stayed == 50 if policy is plain else stayed < 50


@pytest.mark.parametrize("seed", range(10))
def test_the_second_half_is_close_to_the_best_end_point(seed: int) -> None:
    kind = make_type(seed, misfit=0.1, noise_s=0.005)
    group = Group(D, "o")
    policies = [FedLinUCBDW(kind.device_columns, Settings()) for _ in range(2)]
    rng = np.random.default_rng(seed)
    costs = []
    for index, policy in enumerate(policies):
        warm_start(policy, kind, rng)
        exchange(policies, group, index)
    for frame in range(150):
        for index, policy in enumerate(policies):
            arm = policy.select(kind.contexts)
            policy.update(arm, draw(kind, arm, rng))
            exchange(policies, group, index)
            costs += [kind.total_s[arm]] * (frame >= 75)
    ends = kind.total_s[[kind.device_only, *kind.edge_only]]
    assert np.mean(costs) <= 1.35 * ends.min()


@pytest.mark.parametrize("settings", [Settings(), PLAIN])
def test_a_restart_goes_on_with_the_same_choices(settings: Settings) -> None:
    policy, twin = learner(settings), learner(settings, boot=1)
    play(policy, 60)
    twin.load(policy.dump())
    assert play(twin, 30, seed=2) == play(policy, 30, seed=2)
    other = learner(Settings() if settings is PLAIN else PLAIN, boot=2)
    other.load(policy.dump())
    assert np.array_equal(other.member.view().gram, policy.member.view().gram)


def test_bad_input_leaves_the_learner_as_it_was() -> None:
    policy = learner(Settings())
    play(policy, 20)
    theta = policy.theta
    with pytest.raises(ValueError, match="contexts"):
        policy.select(np.full_like(KIND.contexts, np.nan))
    with pytest.raises(ValueError, match="arm"):
        policy.update(999, Cost(0.1))
    with pytest.raises(ValueError, match="NaN"):
        policy.member.adopt("o", 1, Statistics(np.full((D, D), np.nan), np.zeros(D), 1, 1.0))
    assert np.array_equal(policy.theta, theta)
    for bad in ({"feedback": "half"}, {"beta_s": -1.0}, {"beta_noise": np.nan}):
        with pytest.raises(ValueError, match=r"feedback|beta"):
            Settings(**bad)


def test_offsets_shrink_towards_zero_and_forget() -> None:
    offsets = ArmOffsets(2, pseudo_rows=2.0, forgetting=0.5)
    offsets.observe(1, np.array([1.0, 0.0]), 0.5)
    offsets.observe(1, np.array([1.0, 0.0]), 0.5)
    theta = np.array([0.2, 0.0])
    assert np.allclose(offsets.predict(theta, 3), [0.0, 1.5 * 0.3 / 3.5, 0.0])
    assert offsets.predict(theta, 1).shape == (1,)
    for settings in ({"pseudo_rows": 0.0}, {"pseudo_rows": 1.0, "forgetting": 0.0}):
        with pytest.raises(ValueError, match="pseudo_rows"):
            ArmOffsets(2, **settings)


def test_probes_thin_out_and_come_back_after_a_surprise() -> None:
    with pytest.raises(ValueError, match="gap"):
        ProbeSchedule(5, 4)
    schedule = ProbeSchedule(2, 8)
    gaps = []
    for surprise in (False, False, False, True, False):
        waited = 0
        while not schedule.due():
            schedule.played(offloads=False, forced=False)
            schedule.learned(cheaper=False)
            waited += 1
        gaps.append(waited)
        schedule.played(offloads=True, forced=True)
        schedule.learned(cheaper=surprise)
    assert gaps == [2, 4, 8, 8, 2]
    schedule.played(offloads=True, forced=False)
    assert schedule.dump()["gap"] == 2


def test_a_device_that_stays_at_home_is_sent_out_now_and_then() -> None:
    slow = make_type(1, device_s=0.05, mbit_s=0.5, misfit=0.0)
    policy = learner(Settings(beta_s=0.0, probe_after_frames=4, probe_largest_gap_frames=8))
    rng, forced = np.random.default_rng(0), []
    for arm in range(len(slow.contexts)):
        policy.select(slow.contexts)
        policy.update(arm, draw(slow, arm, rng))
    for frame in range(100):
        arm = policy.select(slow.contexts)
        if policy.forced:
            assert arm != slow.device_only
            forced.append(frame)
        policy.update(arm, draw(slow, arm, rng))
    assert len(forced) >= 8
    assert max(np.diff(forced)) <= 9


def test_where_nothing_can_be_offloaded_nothing_is_forced() -> None:
    policy = FedLinUCBDW([True, False], Settings(probe_after_frames=2))
    for _ in range(10):
        assert policy.select(np.array([[1.0, 0.0]])) == 0
        assert not policy.forced
        policy.update(0, Cost(0.1, 0.1))
    with pytest.raises(ValueError, match="shape"):
        policy.select(np.zeros(2))


def test_a_probe_that_could_not_leave_the_device_stays_due_and_teaches_nothing() -> None:
    contexts = np.array([[0.0, 1.0], [1.0, 0.0]])
    policy = FedLinUCBDW([True, False], Settings(beta_s=0.0, probe_after_frames=2))
    for arm, cost in ((0, 1.0), (1, 0.1), (1, 0.1)):
        policy.select(contexts)
        policy.update(arm, Cost(cost, 0.0 if arm == 0 else cost))
    before = policy.dump()["probes"]["gap"]
    for _ in range(5):
        assert (policy.select(contexts), policy.forced) == (0, True)
        policy.update(1, Cost(0.05, 0.05))  # no edge worker there: the device arm was played instead
    assert policy.dump()["probes"]["gap"] == before
    assert (policy.select(contexts), policy.forced) == (0, True)
    policy.update(0, Cost(1.0, 0.0))
    assert policy.dump()["probes"]["gap"] == 2 * before
    assert policy.select(contexts) == 1


def test_a_forced_offload_is_held_against_what_its_own_arm_was_believed_to_cost() -> None:
    # Two offloading arms of one context: only their offsets tell them apart. The device arm is the cheapest.
    contexts = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    costs = (1.0, 0.5, 0.1)
    settings = Settings(beta_s=0.0, probe_after_frames=4, probe_largest_gap_frames=64)
    policy = FedLinUCBDW([True, False], settings)
    for turn in range(60):
        policy.select(contexts)
        policy.update(turn % 3, Cost(costs[turn % 3], 0.0 if turn % 3 < 2 else 0.1))
    while (arm := policy.select(contexts)) == 2:
        policy.update(arm, Cost(0.1, 0.1))
    assert (arm, policy.forced) == (1, True)
    gap = policy.dump()["probes"]["gap"]
    policy.update(1, Cost(0.6, 0.0))  # dearer than arm 1 was believed to be, cheaper than arm 0
    assert policy.dump()["probes"]["gap"] == 2 * gap


def test_a_group_counts_its_installs() -> None:
    group = Group(D, "o")
    group.merge("d", "i", 0, 1, Statistics.zeros(D).add_row(KIND.contexts[0], 0.1))
    group.merge("d", "j", 0, 1, Statistics.zeros(D).add_row(KIND.contexts[0], 0.1))
    assert (group.installs, group.members) == (2, 1)
