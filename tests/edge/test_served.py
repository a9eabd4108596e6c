"""Models that come and go under an edge worker's session: events in, the whole command list compared."""

from dataclasses import replace

from bus.arms import arms_digest
from bus.messages import ActivationRequest
from edge import commands as do
from edge import events as ev
from edge.batching import Batch
from edge.session import EdgeSession, Limits

OLD, NEW = "00112233445566aa", "ffeeddccbbaa0099"
ARMS = frozenset({(0, "uint8"), (3, "int8-zstd")})
FEWER = frozenset({(0, "uint8")})
OUTPUT = ev.Output(1, 0.75, "float32", (2,), memoryview(b"12345678"), 2.0, 8.0)


def arrived(request_id: str, model: str, device: str = "cam-1") -> ev.RequestArrived:
    request = ActivationRequest(
        id=request_id,
        device=device,
        type="pi4",
        model=model,
        cut=0,
        codec="uint8",
        dtype="uint8",
        shape=(1,),
        seq=1,
        budget_ms=60_000.0,
        payload=memoryview(b"x"),
    )
    return ev.RequestArrived(device, request)


def said(load: float, *models: str, fewer: bool = False) -> do.AnnounceState:
    digest = arms_digest(FEWER if fewer else ARMS)
    return do.AnnounceState("ready", load, 0.0, ",".join(models), ",".join([digest] * len(models)))


def ready() -> EdgeSession:
    session = EdgeSession("edge-1", {OLD: ARMS}, limits=replace(Limits(), grace_s=10.0))
    assert session.handle(ev.WorkerIdle(0), 0.0) == [said(0.0, OLD)]
    return session


def test_a_new_model_is_announced_beside_the_old_one_and_both_are_answered() -> None:
    session = ready()
    assert session.handle(ev.ModelLoaded(NEW, ARMS), 1.0) == [said(0.0, OLD, NEW)]
    assert session.handle(ev.ModelLoaded(NEW, ARMS), 1.0) == []
    for number, model in enumerate((OLD, NEW)):
        event = arrived(f"1-{number}", model)
        assert session.handle(event, 2.0) == [do.RunTail(0, (event.request,))]
        assert isinstance(session.handle(ev.TailFinished(0, (OUTPUT,)), 2.0)[0], do.PublishReply)
        session.check()


def test_a_removed_model_is_answered_until_its_grace_is_over_and_its_jobs_have_ended() -> None:
    session = ready()
    session.handle(ev.ModelLoaded(NEW, ARMS), 1.0)
    assert session.handle(ev.ModelRemoved(OLD), 5.0) == [said(0.0, NEW)]
    assert session.handle(ev.ModelRemoved(OLD), 6.0) == []  # the grace is not begun anew
    assert session.next_deadline() == 15.0
    running, waiting = arrived("1-1", OLD), arrived("1-2", OLD, "cam-2")
    assert session.handle(running, 14.0) == [do.RunTail(0, (running.request,))]
    assert session.handle(waiting, 14.0) == []
    assert session.handle(ev.DeadlinePassed(), 15.0) == []
    session.check()
    (rejected,) = session.handle(arrived("1-3", OLD, "cam-3"), 15.0)
    assert isinstance(rejected, do.PublishRejection)
    assert rejected.rejection.reason == "unknown_model"
    assert session.next_deadline() == 74.0  # the budget of the job that waits, and no grace any more
    assert session.handle(ev.TailFinished(0, (OUTPUT,)), 16.0)[1:] == [do.RunTail(0, (waiting.request,))]
    assert session.handle(ev.TailFinished(0, (OUTPUT,)), 17.0)[1:] == [do.DropModel(OLD)]
    session.check()
    assert session.handle(ev.ModelRemoved(OLD), 18.0) == []


def test_a_model_that_comes_back_in_its_grace_stays() -> None:
    session = ready()
    assert session.handle(ev.ModelRemoved(OLD), 1.0) == [said(0.0)]
    assert session.handle(ev.ModelLoaded(OLD, FEWER), 2.0) == [said(0.0, OLD, fewer=True)]
    assert session.next_deadline() is None
    assert session.handle(ev.DeadlinePassed(), 99.0) == []
    session.check()


def test_a_model_brings_along_how_many_frames_its_tails_take() -> None:
    session = ready()
    session.handle(ev.ModelLoaded(NEW, ARMS, {0: Batch(2, 9.0)}), 1.0)
    for number in range(4):
        session.handle(arrived(f"1-{number}", NEW, f"cam-{number}"), 2.0)
    (run,) = session.handle(ev.TailFinished(0, (OUTPUT,)), 2.0)[1:]
    assert isinstance(run, do.RunTail)
    assert [each.id for each in run.requests] == ["1-1", "1-2"]
    session.check()


def test_one_that_stops_takes_nothing_up_and_waits_for_no_grace() -> None:
    session = ready()
    session.handle(arrived("1-1", OLD), 1.0)
    session.handle(ev.ModelRemoved(OLD), 1.0)
    session.handle(ev.StopRequested(), 2.0)
    assert session.handle(ev.ModelLoaded(NEW, ARMS), 2.0) == []
    assert session.handle(ev.ModelRemoved(NEW), 2.0) == []
    assert isinstance(session.handle(ev.TailFinished(0, (OUTPUT,)), 3.0)[-1], do.Stop)
    assert session.next_deadline() is None
    assert session.handle(ev.DeadlinePassed(), 99.0) == [do.DropModel(OLD)]
    session.check()


def test_the_digest_of_arms_knows_no_order_and_tells_every_difference() -> None:
    assert arms_digest([(0, "a"), (1, "b")]) == arms_digest([(1, "b"), (0, "a")])
    others = [[], [(0, "a")], [(0, "a"), (2, "b")], [(0, "a"), (1, "c")], [(0, "b"), (1, "a")]]
    assert len({arms_digest(arms) for arms in [*others, [(0, "a"), (1, "b")]]}) == 6
