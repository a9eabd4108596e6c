"""A banned arm is played by nobody, and everything else stays what it was."""

from dataclasses import replace

import numpy as np
import pytest

from bandits.policy import Cost
from bandits.settings import Settings
from bus.errors import ConfigurationError, LocalProtocolError
from bus.messages import Feedback
from device import events as e
from device.bans import BanningCompute
from device.commands import Command, PublishFeedback, RunHead, SendRequest
from device.compute import Compute, Frame, LocalAnswer
from device.events import ExitRow, Head
from device.plan import PlanArm
from device.policies import build_policy
from device.policy_names import NAMES
from tests.support.device_parts import LOCAL_HEAD, PLAN, REMOTE_HEAD, edge_state, reply, session

FRAME = np.zeros((2, 2, 3), dtype=np.uint8)


class _Machine:
    """It implements `Compute`, and says which arm it was asked for."""

    emulated = True
    exit_count = 2
    input_size = (2, 2)
    label = "three arms"
    plan = PLAN

    def run_head(self, frame: Frame, arm: int, until: int | None = None) -> Head:
        del frame
        return LOCAL_HEAD if arm == 2 else Head(b"x", "uint8", (1,), 1.0, 1.0, kept=arm)

    def finish(self, kept: object, exit_index: int | None = None) -> LocalAnswer:
        assert isinstance(kept, int)
        return LocalAnswer(kept, 0.5, 1.0)

    def run_exits(self, frame: Frame, exit_index: int) -> ExitRow:
        del frame
        return ExitRow((float(exit_index),), 0.1)


def test_a_plan_without_arms_keeps_its_schema_and_the_models_numbers() -> None:
    plan = PLAN.without({0: "it was named"})
    assert plan.arms == PLAN.arms[1:]
    assert plan.contexts.tolist() == PLAN.contexts[1:].tolist()
    assert (plan.device_arm, plan.schema, plan.dimension) == (1, PLAN.schema, PLAN.dimension)
    assert [plan.number(arm) for arm in range(2)] == [1, 2]
    again = plan.without({0: "it was named"})
    assert (again.number(0), again.device_arm) == (2, 0)
    assert [PLAN.without({}).number(arm) for arm in range(3)] == [PLAN.number(arm) for arm in range(3)]


def test_the_device_only_arm_cannot_be_banned() -> None:
    with pytest.raises(ConfigurationError, match="cannot be banned"):
        PLAN.without({2: "no"})
    with pytest.raises(ConfigurationError, match="arms count from 0 to 2"):
        BanningCompute(_Machine(), {3: "no such arm"})


def test_the_computing_is_asked_for_the_arm_that_was_meant() -> None:
    compute: Compute = BanningCompute(_Machine(), {0: "its agreement is below 0.99"})
    assert compute.run_head(FRAME, 0).kept == 1
    assert compute.run_head(FRAME, 1).top == LOCAL_HEAD.top
    assert compute.finish(compute.run_head(FRAME, 0).kept).top == 1
    assert compute.run_exits(FRAME, 1).context == (1.0,)
    assert (compute.emulated, compute.exit_count, compute.input_size) == (True, 2, (2, 2))


def test_bans_are_said_with_their_reasons() -> None:
    both = BanningCompute(_Machine(), {1: "too large", 0: "too large"})
    alone = "every arm that sends is banned, so it works alone"
    assert both.label == f"three arms; {alone}; banned 0/jpeg, 1/int8-zstd: too large"
    apart = BanningCompute(_Machine(), {1: "dominated", 0: "too large"})
    assert apart.label == f"three arms; {alone}; banned 0/jpeg: too large; banned 1/int8-zstd: dominated"
    assert BanningCompute(_Machine(), {1: "too large"}).label == "three arms; banned 1/int8-zstd: too large"
    assert BanningCompute(_Machine(), {}).label == "three arms"


def test_of_many_bans_for_one_reason_some_are_named() -> None:
    class Larger(_Machine):
        plan = replace(
            PLAN,
            arms=(*PLAN.arms, *(PlanArm(1, f"codec{n}") for n in range(3))),
            contexts=np.vstack([PLAN.contexts, PLAN.contexts]),
        )

    label = BanningCompute(Larger(), dict.fromkeys((0, 1, 3, 4), "dominated")).label
    assert label == "three arms; banned 0/jpeg, 1/int8-zstd, 1/codec0, 1 more: dominated"


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith(("edge_only", "two_arm"))])
def test_no_policy_plays_a_banned_arm(name: str) -> None:
    plan = PLAN.without({0: "it was named"})
    policy = build_policy(name, plan, Settings(), front_s=(0.01, 0.03), edge_s=(0.02, 0.0))
    assert {policy.select(plan.contexts) for _ in range(50)} <= {0, 1}


@pytest.mark.parametrize("name", ["edge_only_jpeg", "two_arm"])
def test_a_policy_that_is_a_banned_arm_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"as jpeg.*, which is banned \(0/jpeg: it was named\)"):
        build_policy(name, PLAN.without({0: "it was named"}), Settings())


def test_a_switch_plays_what_its_bans_have_left() -> None:
    both = replace(PLAN, arms=(PlanArm(0, "jpeg"), PlanArm(0, "uint8"), PlanArm(2, "none")))
    plan = both.without({0: "it was named"})
    policy = build_policy("two_arm", plan, Settings())
    chosen = set()
    for _ in range(4):
        arm = policy.select(plan.contexts)
        chosen.add(plan.arms[arm].codec)
        policy.update(arm, Cost(0.03))
    assert chosen == {"uint8", "none"}
    with pytest.raises(ConfigurationError, match=r"edge_only_float32 .* add it to --codecs"):
        build_policy("edge_only_float32", plan, Settings())


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith(("edge_only", "two_arm"))])
def test_every_policy_plays_the_one_arm_that_is_left_when_all_others_are_banned(name: str) -> None:
    plan = PLAN.without({0: "too large", 1: "too large"})
    policy = build_policy(name, plan, Settings(), front_s=(0.03,), edge_s=(0.0,))
    for _ in range(50):
        assert policy.select(plan.contexts) == plan.device_arm == 0
        policy.update(0, Cost(0.03))


def test_an_edge_worker_is_asked_for_the_whole_plan_whatever_is_banned() -> None:
    """A worker that serves the same arms still matches, and one that lacks a banned arm still does not."""
    once = PLAN.without({0: "too large"})
    twice = once.without({0: "it was named"})
    assert once.asks == twice.asks == PLAN.asks == PLAN.without({}).asks
    assert once.asks == once.with_measured_link().asks
    other = replace(PLAN, arms=(PlanArm(0, "png"), *PLAN.arms[1:]))
    assert other.without({0: "too large"}).asks == other.asks != once.asks
    assert dict(twice.banned) == {"0/jpeg": "too large", "1/int8-zstd": "it was named"}


def test_a_plan_has_an_agreement_for_every_arm_or_for_none() -> None:
    plan = replace(PLAN, agreement=(0.5, 0.9, 1.0))
    assert plan.without({0: "too large"}).agreement == (0.9, 1.0)
    with pytest.raises(LocalProtocolError, match="3 arms has agreements of 2"):
        replace(PLAN, agreement=(0.5, 1.0))


def test_a_device_with_a_ban_asks_and_reports_as_one_without() -> None:
    plan = PLAN.without({0: "it was named"})
    device = session("linucb", plan=plan)
    commands: list[Command] = device.handle(e.Started(), 0.0)
    commands += device.handle(e.LinkCameUp("data"), 0.0)
    commands += device.handle(e.EdgeAnnounced(edge_state()), 0.0)
    feedback: list[Feedback] = []
    for turn in range(1, 20):
        now = float(turn)
        played = device.handle(e.FrameCaptured(FRAME), now)
        [head] = [command for command in played if isinstance(command, RunHead)]
        done = LOCAL_HEAD if head.arm == plan.device_arm else REMOTE_HEAD
        then = device.handle(e.HeadFinished(head.turn, done), now)
        for asked in [command for command in then if isinstance(command, SendRequest)]:
            assert (asked.request.cut, asked.request.codec) == (1, "int8-zstd")
            then = device.handle(e.ReplyArrived(reply(asked.request.id)), now)
        feedback += [command.feedback for command in then if isinstance(command, PublishFeedback)]
        device.check()
    assert {(one.arm, one.cut, one.codec) for one in feedback} == {(1, 1, "int8-zstd"), (2, 2, "none")}
