"""What edge workers say of their queues, heard by devices."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from bandits.between import Between
from bandits.fedlinucb import FedLinUCBDW
from bandits.link_estimate import LinkSettings
from bandits.neurosurgeon import Neurosurgeon
from bandits.policy import Cost, HeedsQueues
from bandits.settings import Settings
from bandits.two_arm import TwoArmSwitch
from bus.connection import Delivery
from bus.messages import QueueNotice
from bus.topics import QUEUE, Topics
from bus.wire import encode
from device import commands as c
from device import events as e
from device.edges import TOLD_S, Edges
from device.inbound import event_of
from device.session import DeviceSession
from tests.support.device_parts import (
    LOCAL_HEAD,
    MEASURED_PLAN,
    MODEL,
    PLAN,
    REMOTE_HEAD,
    edge_state,
    reply,
    session,
)

TOPICS = Topics()


def _notice(edge: str = "edge-1", topic_edge: str = "edge-1") -> Delivery:
    said = encode(QUEUE, QueueNotice(edge=edge, free_ms=80.0, jobs=2))
    return Delivery(TOPICS.of(QUEUE, edge=topic_edge), said)


def test_a_notice_is_an_event_and_one_in_anothers_name_is_refused() -> None:
    assert event_of(TOPICS, _notice()) == e.QueueTold("edge-1", 0.08, 2)
    assert isinstance(event_of(TOPICS, _notice("edge-2")), e.BadMessageArrived)
    broken = Delivery(TOPICS.of(QUEUE, edge="edge-1"), b"{}")
    assert isinstance(event_of(TOPICS, broken), e.BadMessageArrived)


def _edges() -> Edges:
    edges = Edges(MODEL, PLAN.asks, lambda: 0.0)
    edges.announced(edge_state())
    return edges


def test_a_wait_is_counted_down_and_forgotten_and_a_strangers_is_not_heard() -> None:
    edges = _edges()
    assert edges.line(1.0) is None
    edges.told("nobody", 0.3, 3, 1.0)
    assert edges.line(1.0) is None
    edges.told("edge-1", 0.3, 3, 1.0)
    assert edges.line(1.1) == pytest.approx((0.2, 2.0))  # they go one after the other
    assert edges.line(2.0) == (0.0, 0.0)
    assert edges.line(1.01 + TOLD_S) is None
    edges.told("edge-1", 0.0, 1, 2.0)  # with another worker that is free
    assert edges.line(2.0) == (0.0, 0.0)


def test_of_several_the_shortest_counts_and_only_of_those_that_can_be_asked() -> None:
    edges = _edges()
    edges.announced(edge_state(edge="edge-2"))
    edges.told("edge-1", 0.3, 1, 1.0)
    edges.told("edge-2", 0.1, 4, 1.0)
    assert edges.line(1.0) == pytest.approx((0.1, 4.0))
    edges.rest("edge-2", 1.0)
    assert edges.line(1.0) == pytest.approx((0.3, 1.0))
    edges.announced(edge_state(state="lost"))
    assert edges.line(1.0) is None


def test_another_state_of_the_same_boot_forgets_no_queue_and_a_new_boot_does() -> None:
    edges = _edges()
    edges.told("edge-1", 0.3, 2, 1.0)
    edges.announced(msgspec.structs.replace(edge_state(), load=3.0))
    assert edges.line(1.0) == pytest.approx((0.3, 2.0))
    edges.announced(edge_state(boot=2))
    assert edges.line(1.0) is None


def _played(made: DeviceSession, at: float) -> int:
    """Play a frame and return its arm: alone it takes 0.4 s, offloaded 0.05 s."""
    (run,) = (each for each in made.handle(e.FrameCaptured("f"), at) if isinstance(each, c.RunHead))
    if run.arm == PLAN.device_arm:
        made.handle(e.HeadFinished(run.turn, replace(LOCAL_HEAD, head_ms=400.0)), at + 0.4)
        return run.arm
    commands = made.handle(e.HeadFinished(run.turn, REMOTE_HEAD), at + 0.003)
    (send,) = (each for each in commands if isinstance(each, c.SendRequest))
    made.handle(e.ReplyArrived(reply(send.request.id)), at + 0.05)
    return run.arm


def test_a_device_that_is_told_of_a_queue_plays_its_next_frame_alone() -> None:
    learner = Settings(link="measured", slowness="measured")
    made = session("fedlinucb_dw", plan=MEASURED_PLAN, learner=learner)
    for event in (e.Started(), e.LinkCameUp("control"), e.LinkCameUp("data"), e.EdgeAnnounced(edge_state())):
        made.handle(event, 0.0)
    arms = [_played(made, float(at)) for at in range(1, 41)]
    assert PLAN.device_arm not in arms[-5:]
    made.handle(e.QueueTold("edge-1", 3.0, 2), 41.0)
    assert _played(made, 41.1) == PLAN.device_arm
    made.handle(e.QueueTold("edge-1", 0.0, 0), 42.0)
    assert _played(made, 42.1) != PLAN.device_arm


def test_a_link_that_is_learned_hears_nothing() -> None:
    """Where theta is all that is known there is no wait to add to: the choice stays as it is."""
    X = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])  # noqa: N806 - as in the literature
    policies = [FedLinUCBDW([True, False, False], Settings(link="learned"), link_column=2) for _ in range(2)]
    for _ in range(20):
        policies[0].told(9.0, 5.0)
        arms = [policy.select(X) for policy in policies]
        assert arms[0] == arms[1]
        for policy in policies:
            policy.update(arms[0], (Cost(0.4, 0.4), Cost(0.08, 0.0, 0.05))[arms[0]])


def test_a_session_hears_it() -> None:
    made = session("fedlinucb_dw")
    made.handle(e.Started(), 0.0)
    made.handle(e.QueueTold("edge-1", 0.5, 1), 0.1)  # of nobody known yet
    assert made.edges.line(0.1) is None
    made.handle(e.EdgeAnnounced(edge_state()), 0.2)
    made.handle(e.QueueTold("edge-1", 0.5, 1), 0.3)
    assert made.edges.line(0.4) == pytest.approx((0.4, 0.8))


def test_what_was_told_is_added_for_one_frame_and_only_more_is_remembered() -> None:
    between = Between(LinkSettings())
    for _ in range(20):
        between.answered(1.0, 0.05)
    units = np.array([0.0, 1.0])
    plain = between.predict(units)[0]
    between.told(0.3)
    told = between.predict(units, np.array([0.1, 0.0]))[0]
    assert told[1] == pytest.approx(max(plain[1], 0.3))
    assert told[0] == pytest.approx(max(plain[0], 0.2))
    between.pass_time()
    assert between.predict(units)[0] == pytest.approx(plain, rel=0.01)


@pytest.mark.parametrize("learn", ["fedlinucb_dw", "neurosurgeon"])
def test_a_policy_that_is_told_stays_alone_and_offloads_when_it_is_told_that_nobody_waits(learn: str) -> None:
    """Alone 0.4 s; offloaded 0.05 s of link and 0.03 s there."""
    X = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])  # noqa: N806 - as in the literature
    policy: FedLinUCBDW | Neurosurgeon = (
        FedLinUCBDW([True, False, False], Settings(link="measured", slowness="measured"), link_column=2)
        if learn == "fedlinucb_dw"
        else Neurosurgeon([0.4, 0.03], 3, 2, front_s=[0.4, 0.0])
    )
    assert isinstance(policy, HeedsQueues)
    costs = (Cost(0.4, 0.4), Cost(0.08, 0.0, 0.05))
    for _ in range(60):
        arm = policy.select(X)
        policy.update(arm, costs[arm])
    assert policy.select(X) == 1
    policy.update(1, costs[1])
    policy.told(2.0, 3.0)
    assert policy.select(X) == 0
    policy.update(0, costs[0])
    policy.told(0.0, 0.0)
    assert policy.select(X) == 1
    policy.update(1, costs[1])
    assert policy.select(X) == 1  # nobody has said anything


def test_a_wait_that_was_announced_is_not_learned_as_one_that_stays() -> None:
    X = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])  # noqa: N806 - as in the literature
    for told, later in ((0.3, 1), (None, 0)):
        policy = FedLinUCBDW(
            [True, False, False], Settings(link="measured", slowness="measured"), link_column=2
        )
        for arm, cost in ((0, Cost(0.2, 0.2)), (1, Cost(0.08, 0.0, 0.05))):
            for _ in range(30):
                policy.select(X)
                policy.update(arm, cost)
        for _ in range(5):
            if told is not None:
                policy.told(told, 1.0)
            policy.select(X)
            policy.update(1, Cost(0.38, 0.0, 0.35, wait_s=0.3))
        assert policy.select(X) == later


def test_a_switch_between_two_arms_hears_nothing() -> None:
    assert not isinstance(TwoArmSwitch(0, 1), HeedsQueues)


# Alone 0.4 s; half of it and a short tail there; the picture and a long tail. Columns: device, tail, link.
_HALVES = np.array([[1.0, 0.0, 0.0], [0.5, 0.2, 1.0], [0.0, 1.0, 1.0]])
_HALVES_COST = (Cost(0.4, 0.4), Cost(0.2 + 0.02 + 0.02, 0.2, 0.02), Cost(0.1 + 0.02, 0.0, 0.02))


def _who_knows_halves(toll: float) -> FedLinUCBDW:
    settings = Settings(link="measured", slowness="measured", toll=toll, probe_after_frames=None)
    policy = FedLinUCBDW([True, False, False], settings, link_column=2)
    for frame in range(90):
        policy.select(_HALVES)
        policy.update(frame % 3, _HALVES_COST[frame % 3])
    return policy


@pytest.mark.parametrize(("jobs", "chosen"), [(0.0, 2), (1.0, 2), (2.0, 1), (5.0, 1), (12.0, 0)])
def test_the_more_wait_the_less_a_device_asks_of_those_behind_it(jobs: float, chosen: int) -> None:
    """Tails of 0.1 and 0.02 s cost everybody behind that much: 0.12 + 0.1 n against 0.24 + 0.02 n and 0.4."""
    policy, selfish = _who_knows_halves(1.0), _who_knows_halves(0.0)
    policy.told(1e-6, jobs)
    assert policy.select(_HALVES) == chosen
    selfish.told(1e-6, jobs)
    assert selfish.select(_HALVES) == 2


def test_a_toll_is_no_part_of_what_is_expected_and_holds_for_one_frame() -> None:
    policy = _who_knows_halves(1.0)
    policy.select(_HALVES)
    before = policy.expected(2)
    policy.told(1e-6, 20.0)
    assert policy.select(_HALVES) == 0
    assert policy.expected(2) == pytest.approx(before, rel=1e-3)
    assert policy.select(_HALVES) == 2  # nobody has said anything since
    policy.told(0.0, 20.0)  # other workers are free: nobody would wait
    assert policy.select(_HALVES) == 2


def _vain(made: DeviceSession, at: float) -> bool:
    """Play a frame that nobody answers, if it asks anybody; returns whether it did."""
    (run,) = (each for each in made.handle(e.FrameCaptured("f"), at) if isinstance(each, c.RunHead))
    if run.arm == PLAN.device_arm:
        made.handle(e.HeadFinished(run.turn, replace(LOCAL_HEAD, head_ms=400.0)), at + 0.4)
        return False
    made.handle(e.HeadFinished(run.turn, REMOTE_HEAD), at + 0.003)
    commands = made.handle(e.DeadlinePassed(), at + 0.6)
    (finish,) = (each for each in commands if isinstance(each, c.RunFallback))
    made.handle(e.FallbackFinished(finish.turn, 7, 0.5, 5.0), at + 0.61)
    made.check()
    return True


@pytest.mark.parametrize(
    ("lost", "after_s", "asks_again"), [(True, 1.0, True), (True, 9.0, False), (False, 1.0, False)]
)
def test_a_wait_in_vain_right_behind_a_lost_link_says_nothing_of_the_edge_worker(
    *, lost: bool, after_s: float, asks_again: bool
) -> None:
    """A broker that was restarted remembers an edge worker that is not back yet: ask again."""
    learner = Settings(link="measured", slowness="measured")
    made = session("fedlinucb_dw", plan=MEASURED_PLAN, learner=learner)
    for event in (e.Started(), e.LinkCameUp("control"), e.LinkCameUp("data"), e.EdgeAnnounced(edge_state())):
        made.handle(event, 0.0)
    for at in range(1, 41):
        _played(made, float(at))
    if lost:
        made.handle(e.LinkWentDown("data", "the broker closed"), 41.0)
        made.handle(e.LinkCameUp("data"), 42.0)
    assert _vain(made, 42.0 + after_s)
    assert _vain(made, 44.0 + after_s) is asks_again
