"""The edge worker's session: events in, the whole command list compared."""

import random
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bus.arms import arms_digest
from bus.messages import ActivationRequest, InferenceReply, NodeState, Reject, Rejection
from edge import commands as do
from edge import events as ev
from edge.batching import Batch, Batches, size_of
from edge.session import EdgeSession, Limits

MODEL = "00112233445566aa"
ARMS = {MODEL: frozenset({(0, "uint8"), (3, "int8-zstd")})}
OUTPUT = ev.Output(1, 0.75, "float32", (2,), memoryview(b"12345678"), 2.0, 8.0)


def request(
    request_id: str, device: str = "cam-1", *, budget_ms: float = 1000.0, **changes: object
) -> ActivationRequest:
    message = ActivationRequest(
        id=request_id,
        device=device,
        type="pi4",
        model=MODEL,
        cut=0,
        codec="uint8",
        dtype="uint8",
        shape=(1,),
        seq=1,
        budget_ms=budget_ms,
        payload=memoryview(b"x"),
    )
    return ActivationRequest(**{f: getattr(message, f) for f in message.__struct_fields__} | changes)


def arrived(request_id: str, device: str = "cam-1", *, budget_ms: float = 1000.0) -> ev.RequestArrived:
    return ev.RequestArrived(device, request(request_id, device, budget_ms=budget_ms))


def announced(state: NodeState, load: float, speed: float) -> do.AnnounceState:
    return do.AnnounceState(state, load, speed, MODEL, arms_digest(ARMS[MODEL]))


def rejection(
    request_id: str,
    reason: Reject,
    detail: str = "",
    *,
    device: str = "cam-1",
    load: int = 0,
    expires_s: float = 1.0,
) -> do.PublishRejection:
    message = Rejection(id=request_id, edge="edge-1", reason=reason, detail=detail, load=load)
    return do.PublishRejection(device, message, expires_s)


def ready(batches: Batches | None = None, **limits: float) -> EdgeSession:
    """A session with one idle worker and its control link up, at time 0."""
    bounds = replace(Limits(), **limits)  # type: ignore[arg-type]
    session = EdgeSession("edge-1", ARMS, batches={MODEL: batches or {}}, limits=bounds)
    assert session.announced == announced("init", 0.0, 0.0)
    assert session.handle(ev.LinkUp(), 0.0) == []
    assert session.handle(ev.WorkerIdle(0), 0.0) == [announced("ready", 0.0, 0.0)]
    session.check()
    return session


def test_a_request_runs_at_once_and_is_answered_with_its_times_and_correlation() -> None:
    session = ready()
    event = ev.RequestArrived("cam-1", request("1-1"), b"corr")
    assert session.handle(event, 1.0) == [do.RunTail(0, (event.request,))]
    reply = InferenceReply(
        id="1-1",
        edge="edge-1",
        top=1,
        confidence=0.75,
        dtype="float32",
        shape=(2,),
        payload=OUTPUT.payload,
        queue_ms=0.0,
        decode_ms=2.0,
        tail_ms=8.0,
        load=0,
        reply_ms=490.0,  # from the hand-over at 1.0 s on, less the worker's 10 ms
    )
    assert session.handle(ev.TailFinished(0, (OUTPUT,)), 1.5) == [
        do.PublishReply("cam-1", reply, 1.0, b"corr")
    ]
    assert session.tally.answered == 1
    session.check()


def test_a_late_answer_is_sent_all_the_same_and_counted() -> None:
    session = ready()
    session.handle(arrived("1-1", budget_ms=10.0), 1.0)
    commands = session.handle(ev.TailFinished(0, (OUTPUT,)), 3.0)
    replies = [command for command in commands if isinstance(command, do.PublishReply)]
    assert [(each.reply.id, each.expires_s) for each in replies] == [("1-1", 1.0)]
    assert session.tally.answered_late == 1


def test_a_newer_request_of_the_device_takes_the_place_of_the_one_that_waits() -> None:
    session = ready()
    session.handle(arrived("1-1"), 0.0)
    assert session.handle(arrived("1-2"), 0.0) == []
    assert session.handle(arrived("1-3"), 0.0) == [
        rejection("1-2", "overloaded", "a newer request came", load=2)
    ]
    session.check()


def test_devices_take_turns_and_keep_their_place_when_their_request_is_renewed() -> None:
    session = ready()
    for number, device in enumerate(["cam-1", "cam-1", "cam-2", "cam-3", "cam-1"]):
        session.handle(arrived(f"1-{number}", device), 0.0)
    served = []
    for _ in range(3):
        commands = session.handle(ev.TailFinished(0, (OUTPUT,)), 0.1)
        served += [c.requests[0].id for c in commands if isinstance(c, do.RunTail)]
    assert served == ["1-4", "1-2", "1-3"]


@pytest.mark.parametrize(
    ("budget_ms", "loser"), [(50.0, "new"), (500.0, "new"), (1000.0, "cam-2")], ids=["less", "equal", "more"]
)
def test_beyond_the_bound_the_least_budget_goes_and_of_equals_the_newcomer(
    budget_ms: float, loser: str
) -> None:
    session = ready(waiting=2)
    session.handle(arrived("1-1"), 0.0)
    session.handle(arrived("1-2", "cam-2", budget_ms=500.0), 0.0)
    session.handle(arrived("1-3", "cam-3", budget_ms=600.0), 0.0)
    (command,) = session.handle(arrived("1-4", "new", budget_ms=budget_ms), 0.0)
    assert command == rejection(
        "1-2" if loser == "cam-2" else "1-4", "overloaded", "2 jobs wait", device=loser, load=3
    )
    session.check()


def test_a_job_is_dropped_the_moment_its_budget_is_spent() -> None:
    session = ready()
    session.handle(arrived("1-1"), 0.0)
    session.handle(arrived("1-2", "cam-2", budget_ms=100.0), 0.0)
    assert session.next_deadline() == pytest.approx(0.1)
    assert session.handle(ev.DeadlinePassed(), 0.1) == [
        rejection("1-2", "expired", "the budget was spent while waiting", device="cam-2", load=1)
    ]
    session.check()


def test_a_double_is_ignored_wherever_the_first_is() -> None:
    session = ready()
    session.handle(arrived("1-1"), 0.0)
    assert session.handle(arrived("1-1"), 0.0) == []
    session.handle(ev.TailFinished(0, (OUTPUT,)), 0.0)
    assert session.handle(arrived("1-1"), 0.0) == []
    assert session.tally.duplicates == 2
    session.check()


@pytest.mark.parametrize(
    ("changes", "reason", "detail", "fault"),
    [
        ({"model": "f" * 16}, "unknown_model", f"model {'f' * 16} is not served here", "foreign"),
        ({"cut": 9}, "malformed", "no arm 9/uint8 in this model", "malformed"),
        ({"id": ""}, "malformed", "a request needs an id", "malformed"),
        ({"budget_ms": 0.0}, "expired", "the budget was spent before it arrived", None),
    ],
)
def test_what_cannot_run_is_rejected_with_its_reason(
    changes: dict[str, object], reason: Reject, detail: str, fault: str | None
) -> None:
    session = ready()
    message = request("1-1", **changes)  # type: ignore[arg-type]
    commands = session.handle(ev.RequestArrived("cam-1", message), 0.0)
    assert commands == [rejection(message.id, reason, detail)]
    assert session.tally.faults.total == (fault is not None)
    session.check()


def test_a_broken_request_is_rejected_to_its_topic_once_and_unreadable_ones_at_a_bounded_rate() -> None:
    session = ready()
    broken = ev.RequestBroken("cam-1", "wrong_sender", "cam-1 sent a request of cam-2", "2-1")
    assert session.handle(broken, 0.0) == [rejection("2-1", "malformed", "cam-1 sent a request of cam-2")]
    assert session.handle(broken, 0.0) == []
    noise = ev.RequestBroken("cam-1", "too_large", "much")
    told = sum(len(session.handle(noise, 0.0)) for _ in range(1000))
    assert told == 20
    assert session.tally.unanswerable == 980
    assert session.handle(noise, 0.1) == [rejection("", "too_large", "much")]
    session.check()


def test_a_failed_tail_is_the_payloads_fault_or_ours() -> None:
    session = ready()
    session.handle(arrived("1-1"), 0.0)
    assert session.handle(ev.TailFinished(0, (ev.Failure("tensor", "short"),)), 0.0) == [
        rejection("1-1", "malformed", "short")
    ]
    session.handle(arrived("1-2"), 0.0)
    assert session.handle(ev.TailFinished(0, (ev.Failure(None, "torch"),)), 0.0) == [
        rejection("1-2", "overloaded", "torch")
    ]
    assert (session.tally.faults.of("tensor"), session.tally.tail_failures) == (1, 1)
    session.check()


def running_three(session: EdgeSession) -> tuple[ActivationRequest, ...]:
    """Let a worker run the requests of cam-2 and cam-4 together; cam-3, who wants another tail, waits."""
    session.handle(arrived("1-1", "cam-1", budget_ms=9000.0), 0.0)
    other = request("1-3", "cam-3", budget_ms=9000.0, cut=3, codec="int8-zstd")
    for device, message in (("2", request("1-2", "cam-2")), ("3", other), ("4", request("1-4", "cam-4"))):
        session.handle(ev.RequestArrived(f"cam-{device}", message), 0.0)
    answered, run, told = session.handle(ev.TailFinished(0, (OUTPUT,)), 0.1)
    assert isinstance(answered, do.PublishReply)
    assert answered.reply.batch == 1
    assert isinstance(run, do.RunTail)
    assert isinstance(told, do.PublishQueue)
    assert told.notice.free_ms == pytest.approx(300.0)  # two that run, and one in line, of 0.1 s each
    assert told.notice.jobs == 3
    session.check()
    return run.requests


def test_an_idle_worker_takes_all_that_wait_for_the_same_tail_and_each_is_answered_by_itself() -> None:
    session = ready(batches={0: Batch(3, 9.0)})
    requests = running_three(session)
    assert [each.id for each in requests] == ["1-2", "1-4"]
    assert session.load == 3
    commands = session.handle(ev.TailFinished(0, (OUTPUT, ev.Failure("tensor", "short"))), 0.2)
    answer, refusal, next_run, _ = commands
    assert isinstance(answer, do.PublishReply)
    reply = answer.reply
    assert (answer.device, reply.id, reply.batch, reply.load) == ("cam-2", "1-2", 2, 1)
    assert reply.queue_ms + reply.decode_ms + reply.tail_ms + reply.reply_ms == pytest.approx(200.0)
    assert refusal == rejection("1-4", "malformed", "short", device="cam-4", load=1)
    assert isinstance(next_run, do.RunTail)
    assert [each.id for each in next_run.requests] == ["1-3"]
    counts = session.tally.metrics(waiting=0, running=0)
    assert counts["batch_mean"] == 1.5
    session.check()


@pytest.mark.parametrize(
    ("batches", "together"),
    [
        ({}, 1),
        ({3: Batch(8, 9.0)}, 1),
        ({0: Batch(2, 9.0)}, 2),
        ({0: Batch(8, 9.0)}, 3),
        ({0: Batch(8, 1.0)}, 2),
    ],
    ids=str,
)
def test_as_many_as_the_tail_takes_and_no_more(batches: Batches, together: int) -> None:
    session = ready(batches=batches)
    for number in range(4):
        session.handle(arrived(f"1-{number}", f"cam-{number}"), 0.0)
    run = session.handle(ev.TailFinished(0, (OUTPUT,)), 0.0)[-1]
    assert isinstance(run, do.RunTail)
    assert [each.id for each in run.requests] == ["1-1", "1-2", "1-3"][:together]


def test_a_burst_runs_in_small_batches_and_a_lasting_load_in_the_largest() -> None:
    tail = Batch(8, 0.5)
    assert [size_of(tail, alike, 0) for alike in (1, 2, 8, 18)] == [1, 1, 2, 3]
    assert [size_of(tail, 8, handed_over) for handed_over in (0, 10, 40, 1000)] == [2, 3, 5, 8]
    assert size_of(tail, 3, 1000) == 3
    assert size_of(None, 8, 1000) == 1


def burst_sizes(session: EdgeSession, name: str, now: float) -> list[int]:
    """Let nine frames come at once, each tail take 10 ms; return how many shared each run."""
    sizes = []
    for number in range(9):
        commands = session.handle(arrived(f"{name}-{number}", f"cam-{number}", budget_ms=9000.0), now)
        sizes += [len(each.requests) for each in commands if isinstance(each, do.RunTail)]
    while session.load:
        now += 0.01
        commands = session.handle(ev.TailFinished(0, (OUTPUT,) * sizes[-1]), now)
        sizes += [len(each.requests) for each in commands if isinstance(each, do.RunTail)]
    session.check()
    return sizes


def test_a_rest_ends_a_busy_period_unless_it_is_short() -> None:
    session = ready(batches={0: Batch(8, 0.5)})
    assert burst_sizes(session, "1", 1.0) == [1, 2, 2, 2, 2]
    assert burst_sizes(session, "2", 2.0) == [1, 2, 2, 2, 2]  # after a rest of a second
    assert burst_sizes(session, "3", 2.054) == [1, 3, 3, 2]  # after 4 ms, when it had been busy for 50


def test_a_batch_that_outlasts_the_drain_is_rejected_frame_by_frame() -> None:
    session = ready(batches={0: Batch(8, 9.0)})
    running_three(session)
    session.handle(ev.StopRequested(), 0.2)
    commands = session.handle(ev.StopRequested(), 0.3)
    rejected = [each.rejection.id for each in commands if isinstance(each, do.PublishRejection)]
    assert rejected == ["1-2", "1-4"]
    assert session.handle(ev.TailFinished(0, (OUTPUT, OUTPUT)), 0.4) == []
    session.check()


def test_stopping_rejects_what_waits_lets_a_tail_end_and_stops() -> None:
    session = ready()
    session.handle(arrived("1-1"), 0.0)
    session.handle(arrived("1-2", "cam-2"), 0.0)
    assert session.handle(ev.StopRequested(), 0.0) == [
        rejection("1-2", "shutting_down", device="cam-2", load=1),
        announced("disconnected", 1.0, 0.0),
    ]
    assert session.handle(arrived("1-3"), 0.0) == [rejection("1-3", "shutting_down", load=1)]
    commands = session.handle(ev.TailFinished(0, (OUTPUT,)), 0.1)
    assert [type(command) for command in commands] == [do.PublishReply, do.Stop]
    session.check()


@pytest.mark.parametrize(
    "late", [ev.TailFinished(0, (OUTPUT,)), ev.TailFinished(0, (ev.Failure(None, "x"),))]
)
def test_what_outlasts_the_drain_is_rejected_and_its_end_says_nothing(late: ev.Event) -> None:
    session = ready(drain_s=2.0)
    session.handle(arrived("1-1", budget_ms=500.0), 0.0)
    session.handle(ev.LinkDown(), 0.0)
    session.handle(ev.StopRequested(), 0.0)
    assert session.next_deadline() == 2.0
    assert session.handle(ev.DeadlinePassed(), 2.0) == [rejection("1-1", "shutting_down", load=1), do.Stop()]
    assert session.next_deadline() is None
    assert session.handle(late, 3.0) == []
    session.check()


def test_told_to_stop_twice_it_does_not_wait() -> None:
    session = ready()
    session.handle(arrived("1-1"), 0.0)
    session.handle(ev.StopRequested(), 0.0)
    assert session.handle(ev.StopRequested(), 0.0)[-1] == do.Stop()


def test_steady_load_is_announced_once_and_metrics_in_their_turn() -> None:
    session = ready(metrics_s=5.0)
    session.handle(arrived("1-1", budget_ms=60_000.0), 0.0)
    assert session.next_deadline() == 1.0
    assert session.handle(ev.DeadlinePassed(), 1.0) == [announced("ready", 1.0, 0.0)]
    assert session.next_deadline() == 5.0
    (metrics,) = session.handle(ev.DeadlinePassed(), 5.0)
    assert isinstance(metrics, do.PublishMetrics)
    assert {k: v for k, v in metrics.values.items() if v} == {"requests": 1, "running": 1}
    session.handle(ev.TailFinished(0, (OUTPUT,)), 6.0)
    assert session.handle(ev.DeadlinePassed(), 7.0) == [announced("ready", 0.0, 100.0)]
    assert session.next_deadline() == 10.0


def test_a_load_too_short_to_matter_is_not_announced() -> None:
    session = ready(metrics_s=60.0)
    session.handle(arrived("1-1"), 0.0)
    session.handle(ev.TailFinished(0, (OUTPUT,)), 0.1)
    assert session.handle(ev.DeadlinePassed(), 1.0) == []
    assert session.next_deadline() == 60.0
    session.check()


class EdgeMachine(RuleBasedStateMachine):
    """Any order of events: every request ends exactly once, nothing is over its bound."""

    @initialize(
        workers=st.integers(1, 3),
        waiting=st.integers(1, 4),
        largest=st.integers(1, 3),
        fixed=st.sampled_from([0.1, 1.0, 9.0]),
    )
    def start(self, workers: int, waiting: int, largest: int, fixed: float) -> None:
        self.session = EdgeSession(
            "edge-1",
            ARMS,
            batches={MODEL: {0: Batch(largest, fixed)}},
            workers=workers,
            limits=Limits(waiting=waiting),
        )
        self.now = 0.0
        self.cold = list(range(workers))
        self.running: dict[int, int] = {}  # how many frames, by worker
        self.largest = largest
        self.sent: set[str] = set()
        self.ended: list[str] = []
        self.ran: list[str] = []
        self.stopped = False
        self.waiting = waiting

    def post(self, event: ev.Event) -> None:
        for command in self.session.handle(event, self.now):
            match command:
                case do.RunTail():
                    assert command.worker not in self.running
                    self.running[command.worker] = len(command.requests)
                    self.ran += [request.id for request in command.requests]
                    (cut,) = {request.cut for request in command.requests}
                    assert len(command.requests) <= (self.largest if cut == 0 else 1)
                case do.PublishReply():
                    self.ended.append(command.reply.id)
                case do.PublishRejection():
                    self.ended.append(command.rejection.id)
                case do.Stop():
                    self.stopped = True
                case _:
                    pass
        self.session.check()

    @rule(
        number=st.integers(0, 40),
        device=st.integers(0, 5),
        budget_ms=st.sampled_from([0.0, 5.0, 50.0, 1e9]),
        arm=st.sampled_from([(0, "uint8"), (3, "int8-zstd")]),
    )
    def ask(self, number: int, device: int, budget_ms: float, arm: tuple[int, str]) -> None:
        name, request_id = f"cam-{device}", f"{device}-{number}"
        self.sent.add(request_id)
        asked = request(request_id, name, budget_ms=budget_ms, cut=arm[0], codec=arm[1])
        self.post(ev.RequestArrived(name, asked))

    @rule(
        number=st.integers(0, 40),
        device=st.integers(0, 5),
        fault=st.sampled_from(["malformed", "wrong_sender"]),
    )
    def babble(self, number: int, device: int, fault: str) -> None:
        self.sent.add(f"{device}-{number}")
        self.post(ev.RequestBroken(f"cam-{device}", fault, "x", f"{device}-{number}"))  # type: ignore[arg-type]

    @rule()
    def warm(self) -> None:
        if self.cold:
            self.post(ev.WorkerIdle(self.cold.pop()))

    @rule(data=st.data())
    def end_a_tail(self, data: st.DataObject) -> None:
        if self.running:
            worker = data.draw(st.sampled_from(sorted(self.running)))
            ends: list[ev.Output | ev.Failure] = [OUTPUT, ev.Failure(None, "x"), ev.Failure("tensor", "y")]
            outcome = st.sampled_from(ends)
            outcomes = [data.draw(outcome) for _ in range(self.running.pop(worker))]
            self.post(ev.TailFinished(worker, tuple(outcomes)))

    @rule(by_s=st.sampled_from([0.001, 0.02, 1.0]))
    def wait(self, by_s: float) -> None:
        self.now += by_s
        self.post(ev.DeadlinePassed())
        deadline = self.session.next_deadline()
        assert deadline is None or deadline > self.now, "the shell would spin"

    @rule(up=st.booleans())
    def link(self, up: bool) -> None:
        self.post(ev.LinkUp() if up else ev.LinkDown())

    @rule(sure=st.integers(0, 9))
    def stop(self, sure: int) -> None:
        if sure == 0:
            self.post(ev.StopRequested())

    @invariant()
    def once(self) -> None:
        if hasattr(self, "session"):
            assert len(self.ended) == len(set(self.ended)), "answered twice"
            assert len(self.ran) == len(set(self.ran)), "run twice"
            assert self.session.load <= self.waiting + sum(self.running.values())

    def teardown(self) -> None:
        if hasattr(self, "session"):
            self.post(ev.StopRequested())
            self.post(ev.StopRequested())
            assert self.stopped
            assert sorted(self.ended) == sorted(self.sent)


TestEdgeMachine = EdgeMachine.TestCase
TestEdgeMachine.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)


def test_ten_thousand_strangers_cost_no_memory() -> None:
    session = ready()
    draw = random.Random(5)
    for number in range(10_000):
        session.handle(arrived(f"x-{number}", f"cam-{draw.randrange(5000)}", budget_ms=1.0), number * 0.01)
        session.check()
    assert len(session._recent) <= 256 * 64
    assert session.tally.ended() + session.load == 10_000
