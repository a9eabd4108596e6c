"""A policy of a file is on a device what it is in the simulator."""

from dataclasses import replace

import numpy as np
import pytest

from bandits.ans import ANS
from bandits.fedlinucb import FedLinUCBDW
from bandits.fixed import FixedArm
from bandits.neurosurgeon import Neurosurgeon
from bandits.policy import Cost, Policy
from bus.errors import ConfigurationError
from device.known import Known
from lab.bench.played_device import plan as real_plan
from lab.simulator import spec
from lab.simulator.federated_team import settings_of
from lab.testbed.policies import policy_of

PLAN = real_plan()
ARMS = len(PLAN.arms)
KNOWN = Known(front_s=tuple(np.linspace(0.0, 0.1, ARMS)), edge_s=tuple(np.linspace(0.05, 0.0, ARMS)))


def made(learner: spec.Learner, seed: int = 1) -> Policy:
    return policy_of("mine", learner, PLAN, KNOWN, boot=1, seed=seed)


@pytest.mark.parametrize(
    ("learner", "kind"),
    [
        (spec.Family(link="measured", slowness="measured"), FedLinUCBDW),
        (spec.Fixed(arm="0/jpeg"), FixedArm),
        (spec.TwoArm(), None),
        (spec.Ans(a_s=0.0), ANS),
        (spec.Neurosurgeon(), Neurosurgeon),
        (spec.LinTs(), None),
        (spec.EpsilonGreedy(), None),
    ],
)
def test_each_plays_and_learns(learner: spec.Learner, kind: type | None) -> None:
    policy = made(learner)
    assert policy.name == "mine"
    assert kind is None or isinstance(policy, kind)
    for _ in range(5):
        arm = policy.select(PLAN.contexts)
        assert 0 <= arm < ARMS
        policy.update(arm, Cost(total_s=0.1, device_s=0.05, link_s=0.01))


def test_neurosurgeon_needs_times_of_the_edge_worker() -> None:
    with pytest.raises(ConfigurationError, match="--edge-profile"):
        policy_of("mine", spec.Neurosurgeon(), PLAN, replace(KNOWN, edge_s=()), boot=1, seed=1)


def test_settings_arrive() -> None:
    learner = spec.Family(warm_start=3, beta_noise=0.7, probe_after_frames=9)
    family = made(learner)
    same = FedLinUCBDW(PLAN.front, settings_of(learner), link_column=PLAN.link, boot=1, name="mine")
    for _ in range(8):
        arm = family.select(PLAN.contexts)
        assert arm == same.select(PLAN.contexts)
        for each in (family, same):
            each.update(arm, Cost(total_s=0.1, device_s=0.05, link_s=0.01))
    ans = made(spec.Ans(a_s=0.25))
    assert isinstance(ans, ANS)
    assert ans.a_s == 0.25


def test_what_is_drawn_follows_the_seed() -> None:
    def played(seed: int) -> list[int]:
        policy = made(spec.LinTs(spread_s=1.0), seed)
        arms = []
        for _ in range(12):
            arms.append(policy.select(PLAN.contexts))
            policy.update(arms[-1], Cost(total_s=0.1, device_s=0.05, link_s=0.01))
        return arms

    assert played(1) == played(1)
    assert played(1) != played(2)


@pytest.mark.parametrize(
    ("learner", "sentence"),
    [
        (spec.Fixed(arm="0/jpg"), "there is no arm '0/jpg' to be played: did you mean '0/jpeg'"),
        (spec.Oracle(), "mine: a device cannot be 'oracle'"),
        (spec.Central(), "mine: a device cannot be 'shared_oful'"),
    ],
)
def test_what_no_device_can_be(learner: spec.Learner, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        made(learner)
