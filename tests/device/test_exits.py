"""Early exits in a session: they answer when sure or when the deadline leaves no better, and are learnt."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bandits.fedlinucb import FedLinUCBDW
from bandits.policy import Cost, Exits
from bus.errors import LocalProtocolError
from device import commands as c
from device import events as e
from device.exit_odds import ExitOdds
from device.finishing import Finishing
from device.plan import PlanExit
from device.preparation import time_exits
from device.session import DeviceSession
from tests.support.device_parts import LIMITS, LOCAL_HEAD, PLAN, REMOTE_HEAD, edge_state, session

SHALLOW = PlanExit(1, (0.25, 0.0, 0.0, 0.0), answered=0.5)
DEEP = PlanExit(2, (0.6, 0.0, 0.0, 0.0), answered=0.75)
EXITS = replace(PLAN, exits=(SHALLOW, DEEP))
# Seconds to either exit and to the end, where LIMITS leave half a second after the wait for an edge worker.
EXIT_S = (0.2, 0.5, 0.8)
HEAD_OF_1 = replace(REMOTE_HEAD, head_ms=300.0)


def begun(*names: str, **settings: Any) -> DeviceSession:
    """A session with exits and an edge worker, about to capture its first frame, at time 0."""
    made = session(*names, **{"plan": EXITS, "exit_s": EXIT_S, **settings})
    for event in (
        e.Started(),
        e.LinkCameUp("control"),
        e.LinkCameUp("data"),
        e.EdgeAnnounced(edge_state()),
    ):
        made.handle(event, 0.0)
    return made


def one(made: DeviceSession, kind: type[c.Command], event: e.Event, now: float) -> Any:
    """The only command of a kind that follows."""
    (found,) = (command for command in made.handle(event, now) if isinstance(command, kind))
    made.check()
    return found


def test_an_exit_that_is_sure_answers_and_teaches_nothing_about_the_arm() -> None:
    """Nothing was sent, so what was chosen has not been tried; the policy must not think it was so quick."""
    made = begun("linucb")
    made.handle(e.FrameCaptured("f0"), 1.0)
    before = made.turns._policies["linucb"].dump()
    head = replace(LOCAL_HEAD, head_ms=10.0, exit=1)
    answer, feedback, *_ = made.handle(e.HeadFinished(1, head), 1.0625)
    assert answer == c.Answer(0, "linucb", 4, 0.5, "device", 62.5)
    assert isinstance(feedback, c.PublishFeedback)
    assert (feedback.feedback.answered_by, feedback.feedback.reason) == ("device", "exit 1")
    assert feedback.feedback.sent_bytes == 0
    assert repr(made.turns._policies["linucb"].dump()) == repr(before)
    assert (made.metrics()["exits_sure"], made.metrics()["exits_forced"]) == (1, 0)
    made.check()


def test_the_learner_learns_the_devices_own_work_from_an_exit() -> None:
    made = begun("fedlinucb_dw")
    policy = made.turns._policies["fedlinucb_dw"]
    assert isinstance(policy, FedLinUCBDW)
    made.handle(e.FrameCaptured("f0"), 1.0)
    made.handle(e.HeadFinished(1, replace(LOCAL_HEAD, head_ms=250.0, exit=0)), 1.25)
    x = np.array(SHALLOW.context)
    assert np.array_equal(policy.member.local.gram, np.outer(x, x))
    assert np.array_equal(policy.member.local.moment, 0.25 * x)


@pytest.mark.parametrize(
    ("deadline_ms", "until"), [(1000.0, None), (900.0, 1), (570.0, 0), (231.0, 0), (229.0, None)]
)
def test_a_frame_of_the_device_ends_at_the_deepest_exit_in_time(deadline_ms: float, until: int) -> None:
    """Where not even the first is in time, the whole network's answer is the better one to be late with."""
    made = begun("device_only", limits=replace(LIMITS, deadline_ms=deadline_ms))
    assert one(made, c.RunHead, e.FrameCaptured("f0"), 1.0) == c.RunHead(1, "f0", 2, until)


def test_an_answer_for_the_deadlines_sake_says_so_and_is_counted_by_itself() -> None:
    made = begun("fedlinucb_dw", limits=replace(LIMITS, deadline_ms=800.0))
    made.handle(e.EdgeAnnounced(edge_state(state="lost")), 0.5)
    assert one(made, c.RunHead, e.FrameCaptured("f0"), 1.0).until == 1
    head = replace(LOCAL_HEAD, head_ms=500.0, exit=1, forced=True)
    said = one(made, c.PublishFeedback, e.HeadFinished(1, head), 1.5).feedback
    assert (said.answered_by, said.reason, said.deadline_met) == ("device", "deadline exit 1", True)
    assert (made.metrics()["exits_sure"], made.metrics()["exits_forced"]) == (0, 1)


def test_a_fallback_answers_at_an_exit_if_the_rest_of_the_network_takes_too_long() -> None:
    made = begun("edge_only_jpeg")
    made.handle(e.FrameCaptured("f0"), 1.0)
    made.handle(e.HeadFinished(1, REMOTE_HEAD), 1.003)
    # Half a second is left, too little for exit 1 with something to spare.
    assert one(made, c.RunFallback, e.DeadlinePassed(), 1.5) == c.RunFallback(1, "kept", 0)
    said = one(made, c.PublishFeedback, e.FallbackFinished(1, 3, 0.25, 200.0), 1.7).feedback
    assert (said.answered_by, said.reason, said.top) == ("fallback", "deadline exit 0", 3)
    assert said.deadline_met
    assert made.metrics()["exits_forced"] == 1
    assert made.metrics()["answered_by_fallback"] == 1


def test_a_fallback_with_time_enough_ends_where_the_network_does() -> None:
    made = begun("edge_only_jpeg", limits=replace(LIMITS, deadline_ms=2000.0))
    made.handle(e.FrameCaptured("f0"), 1.0)
    made.handle(e.HeadFinished(1, REMOTE_HEAD), 1.003)
    assert one(made, c.RunFallback, e.DeadlinePassed(), 2.0) == c.RunFallback(1, "kept")
    made.handle(e.FallbackFinished(1, 3, 0.25, 800.0), 2.8)
    assert made.metrics()["exits_forced"] == 0


def test_what_finishing_takes_is_less_what_the_head_has_done() -> None:
    finishing = Finishing(EXITS, EXIT_S)
    # Arm 1 was cut behind exit 0, which has been asked and was not sure: its answer is there at once.
    assert finishing.behind(1, left_s=0.6, head_s=0.3) is None
    assert finishing.behind(1, left_s=0.3, head_s=0.3) == 1
    assert finishing.behind(1, left_s=0.1, head_s=0.3) == 0
    assert finishing.behind(1, left_s=-0.1, head_s=0.3) is None  # late as it is, so the whole answer
    never = Finishing(replace(EXITS, exits=(replace(SHALLOW, sure=False), DEEP)), EXIT_S)
    assert never.behind(1, left_s=0.1, head_s=0.3) is None  # nobody asks it on the way
    assert never.before(0.3) == 0


def test_a_device_that_throttles_is_expected_to_reach_all_exits_later() -> None:
    finishing = Finishing(EXITS, EXIT_S)
    assert finishing.before(0.7) == 1
    for _ in range(40):
        finishing.played(0.4, 0)
    assert finishing.before(0.7) == 0
    for _ in range(40):
        finishing.played(0.8)
    assert finishing.before(0.7) == 1


def test_without_times_nothing_ends_early_and_times_of_others_are_refused() -> None:
    unknown = Finishing(EXITS)
    unknown.played(1.0, 0)
    assert unknown.before(0.001) is None
    assert unknown.behind(1, 0.001, 0.0) is None
    with pytest.raises(LocalProtocolError, match="2 times do not fit 2 exits"):
        Finishing(EXITS, (0.1, 0.2))


def test_odds_begin_with_the_calibration_and_follow_the_frames() -> None:
    odds = ExitOdds(EXITS)
    # Of the frames that exit 0 leaves, exit 1 is sure of half.
    assert odds.of().stay.tolist() == [1.0, 0.5, 0.25]
    assert odds.of().early[:, 0].tolist() == [0.0, 0.125, pytest.approx(0.125 + 0.25 * 0.6)]
    for _ in range(200):
        odds.asked(2, 1, sure=True)
    assert odds.of().stay[1] == pytest.approx(1.0, abs=1e-3)
    assert odds.of().stay[2] == pytest.approx(0.0, abs=1e-3)
    for _ in range(200):
        odds.asked(1, None, sure=False)  # says nothing of an exit behind its cut
        odds.asked(2, 0, sure=True)
    assert 0.4 < odds.of().stay[1] < 0.6
    assert odds.of().stay[2] == pytest.approx(0.0, abs=1e-3)
    odds.asked(2, 1, sure=False)
    assert 0.0 < odds.of().stay[2] < 0.06


def test_odds_of_exits_that_are_never_sure_or_always() -> None:
    never = replace(SHALLOW, sure=False, answered=0.0)
    assert ExitOdds(replace(PLAN, exits=(never,))).of().stay.tolist() == [1.0, 1.0, 1.0]
    always = replace(SHALLOW, answered=1.0)
    assert ExitOdds(replace(PLAN, exits=(always, DEEP))).of().stay.tolist() == [1.0, 0.0, 0.0]


def test_what_exits_save_decides_which_arm_is_chosen() -> None:
    """The device alone takes 1 s, offloading 0.7 s; but three of four frames end after a quarter of it."""
    contexts = np.array([[0.0, 1.0], [1.0, 0.0]])
    policy = FedLinUCBDW((True, False))
    for _ in range(50):
        for arm, cost in ((0, Cost(0.7, 0.0)), (1, Cost(1.0, 1.0))):
            policy.select(contexts)
            policy.update(arm, cost)
        policy.exited(np.array([0.25, 0.0]), 0.25)
    assert policy.select(contexts) == 0
    policy.exits = Exits(np.array([1.0, 0.25]), np.array([[0.0, 0.0], [0.75 * 0.25, 0.0]]))
    assert policy.select(contexts) == 1


def test_an_exit_that_would_use_the_link_is_refused() -> None:
    policy = FedLinUCBDW((True, False))
    with pytest.raises(ValueError, match="neither link nor edge"):
        policy.exited(np.array([0.5, 0.5]), 0.1)
    with pytest.raises(ValueError, match="context"):
        policy.exited(np.array([0.5]), 0.1)
    assert policy.member.local.count == 0


class Growing:
    """Each run takes longer than the one before."""

    plan, exit_count, input_size = EXITS, 3, (8, 8)

    def __init__(self) -> None:
        self.runs: list[int] = []

    def run_exits(self, frame: object, exit_index: int) -> e.ExitRow:
        del frame
        self.runs.append(exit_index)
        return e.ExitRow((0.5,), float(len(self.runs)))


def test_exits_are_timed_warm_and_by_the_slower_run() -> None:
    compute: Any = Growing()
    assert time_exits(compute, 0) == (3.0, 6.0, 9.0)
    assert compute.runs == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    compute.plan = PLAN
    assert time_exits(compute, 0) == ()
