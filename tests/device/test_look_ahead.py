"""A look at the link before a frame that is due: when it begins, when it does not, what comes of it."""

from dataclasses import replace

import pytest

from device import commands as c
from device import events as e
from device.limits import Limits
from device.session import DeviceSession
from tests.support.device_parts import (
    HEEDING,
    LIMITS,
    LOCAL_HEAD,
    MEASURED_PLAN,
    PLAN,
    REMOTE_HEAD,
    edge_state,
    reply,
    session,
)

PERIODIC = replace(LIMITS, frame_period_s=1.0)


def running(limits: Limits = PERIODIC) -> DeviceSession:
    """A device that takes a frame a second and has seen an edge worker."""
    made = session("fedlinucb_dw", limits=limits, plan=MEASURED_PLAN, learner=HEEDING)
    for event in (
        e.Started(),
        e.LinkCameUp("control"),
        e.LinkCameUp("data"),
        e.EdgeAnnounced(edge_state()),
    ):
        made.handle(event, 0.0)
    return made


def offload(made: DeviceSession, at: float, seconds: float = 0.05) -> None:
    """Play a frame that the edge worker answers after so many seconds."""
    (run,) = (each for each in made.handle(e.FrameCaptured("f"), at) if isinstance(each, c.RunHead))
    assert run.arm != PLAN.device_arm
    commands = made.handle(e.HeadFinished(run.turn, REMOTE_HEAD), at + 0.003)
    (send,) = (each for each in commands if isinstance(each, c.SendRequest))
    made.handle(e.ReplyArrived(reply(send.request.id)), at + seconds)


def settled(limits: Limits = PERIODIC, frames: int = 40) -> tuple[DeviceSession, float]:
    """One that has been answered often; and when its next frame comes."""
    made = running(limits)
    (run,) = (each for each in made.handle(e.FrameCaptured("f"), 0.5) if isinstance(each, c.RunHead))
    slow = replace(LOCAL_HEAD, head_ms=400.0)
    made.handle(e.HeadFinished(run.turn, slow), 0.9)  # the first one knows nothing
    made.handle(e.LinkChecked(1, 0.04), 0.95)
    for number in range(1, frames):
        offload(made, float(number))
    return made, float(frames)


def looks(commands: list[c.Command]) -> list[int]:
    return [each.check for each in commands if isinstance(each, c.CheckLink)]


def look_at(made: DeviceSession) -> float:
    at = made.turns.look_at
    assert at is not None
    return at


def test_a_look_begins_before_the_frame_as_long_as_its_link_takes_and_once() -> None:
    made, due = settled()
    at = look_at(made)
    assert due - 0.5 < at < due
    assert looks(made.handle(e.DeadlinePassed(), at - 0.001)) == []
    assert looks(made.handle(e.DeadlinePassed(), at)) == [2]
    assert made.turns.look_at is None
    assert looks(made.handle(e.DeadlinePassed(), at + 0.001)) == []
    made.handle(e.LinkChecked(2, 0.04), at + 0.04)
    assert made.metrics()["link_checks"] == 2.0
    offload(made, due)  # nothing was late: it offloads as before
    assert look_at(made) == pytest.approx(due + 1.0 - (due - at), abs=0.05)


def test_the_device_is_woken_for_a_look() -> None:
    made, _ = settled()
    deadline = made.next_deadline()
    assert deadline is not None
    assert deadline <= look_at(made)


def test_a_look_that_hears_nothing_keeps_the_frame_on_the_device() -> None:
    made, due = settled()
    assert looks(made.handle(e.DeadlinePassed(), look_at(made))) == [2]
    (run,) = (each for each in made.handle(e.FrameCaptured("f"), due) if isinstance(each, c.RunHead))
    assert run.arm == PLAN.device_arm


def test_a_look_that_would_begin_too_late_is_left_out() -> None:
    made, due = settled()
    at = look_at(made)
    assert looks(made.handle(e.DeadlinePassed(), at + 0.5 * (due - at))) == []
    assert made.turns.look_at is None


@pytest.mark.parametrize("why", ["unwanted", "closed loop", "link lost", "stopping", "alone"])
def test_there_is_no_look(why: str) -> None:
    """Where nobody wants one or knows when, and where there is nothing to be looked at."""
    limits = {
        "unwanted": replace(PERIODIC, look_ahead=False),
        "closed loop": replace(PERIODIC, frame_period_s=0.0),
    }
    made, due = settled(limits.get(why, PERIODIC))
    if why == "link lost":
        made.handle(e.LinkWentDown("data"), due - 0.9)
    elif why == "stopping":
        made.handle(e.StopRequested("asked"), due - 0.9)
    elif why == "alone":
        made.handle(e.EdgeAnnounced(edge_state(state="lost")), due)
        (run,) = (each for each in made.handle(e.FrameCaptured("f"), due) if isinstance(each, c.RunHead))
        assert run.arm == PLAN.device_arm
        made.handle(e.ComputeFailed(run.turn, "no memory"), due + 0.1)
        made.turns.ahead.answered(by_edge=False)
    assert made.turns.look_at is None
    assert looks(made.handle(e.DeadlinePassed(), due - 0.1)) == []


def test_a_source_may_tell_when_its_frame_comes() -> None:
    made, due = settled(replace(PERIODIC, frame_period_s=0.0))
    assert made.turns.look_at is None
    made.handle(e.FrameDue(due), due - 0.9)
    at = look_at(made)
    assert due - 0.5 < at < due
    made.handle(e.FrameDue(due + 1.0), due - 0.8)  # it has changed its mind
    assert look_at(made) == pytest.approx(at + 1.0)
    offload(made, due)
    assert made.turns.look_at is None
