"""Any order of anything: every frame ends exactly once, and the session never raises."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bus import messages as m
from device import commands as c
from device import events as e
from tests.support.device_parts import (
    HEEDING,
    LOCAL_HEAD,
    MEASURED_PLAN,
    PLAN,
    REMOTE_HEAD,
    edge_state,
    reply,
    session,
)

POLICIES = ("fedlinucb_dw", "edge_only_jpeg", "two_arm")


class DeviceMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.session = session(*POLICIES, plan=MEASURED_PLAN, learner=HEEDING)
        self.open: list[c.Command] = []
        self.seen: list[c.SendRequest] = []
        self.ended: list[tuple[int, str]] = []
        self.captured = 0
        self.stopped = False
        self.post(e.Started())

    def post(self, event: e.Event) -> None:
        for command in self.session.handle(event, self.now):
            match command:
                case c.Answer(seq, policy):
                    self.ended.append((seq, policy))
                case c.RejectFrame(seq, policies):
                    self.ended += [(seq, policy) for policy in policies]
                case c.SendRequest():
                    self.seen.append(command)
                    self.open.append(command)
                case c.Stop():
                    self.stopped = True
                case c.RunHead() | c.RunFallback() | c.SaveSnapshot() | c.CheckLink():
                    self.open.append(command)
                case _:
                    pass

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.3, 2.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        deadline = self.session.next_deadline()
        if deadline is not None and deadline <= self.now:
            self.post(e.DeadlinePassed())

    @rule(seconds=st.sampled_from([-1.0, 0.0, 0.2, 3.0]))
    def due(self, seconds: float) -> None:
        self.post(e.FrameDue(self.now + seconds))

    @rule()
    def frame(self) -> None:
        if not self.stopped and self.session.phase not in {"starting", "warming", "waiting"}:
            self.captured += 1
            self.post(e.FrameCaptured("frame"))

    @rule(index=st.integers(0, 20), well=st.booleans(), twice=st.booleans())
    def complete(self, index: int, well: bool, twice: bool) -> None:
        if not self.open:
            return
        command = self.open[index % len(self.open)]
        if not twice:
            self.open.remove(command)
        match command:
            case c.RunHead(turn, _, arm):
                head = LOCAL_HEAD if arm == PLAN.device_arm else REMOTE_HEAD
                self.post(e.HeadFinished(turn, head) if well else e.ComputeFailed(turn, "no memory"))
            case c.RunFallback(turn):
                done = e.FallbackFinished(turn, 1, 0.5, 10.0)
                self.post(done if well else e.ComputeFailed(turn, "no memory"))
            case c.SendRequest(turn):
                self.post(e.RequestSent(turn) if well else e.SendFailed(turn, "link_lost"))
            case c.CheckLink(number):
                self.post(e.LinkChecked(number, 0.1) if well else e.LinkCheckFailed(number))
            case c.SaveSnapshot(number):
                self.post(e.SnapshotSaved(number) if well else e.SnapshotFailed(number, "disk full"))
            case _:
                raise AssertionError(command)

    @rule(index=st.integers(0, 20), well=st.booleans(), edge=st.sampled_from(["edge-1", "edge-2"]))
    def answer(self, index: int, well: bool, edge: str) -> None:
        request_id = self.seen[index % len(self.seen)].request.id if self.seen else "never"
        rejection = m.Rejection(id=request_id, edge=edge, reason="shutting_down")
        self.post(e.ReplyArrived(reply(request_id, edge)) if well else e.RejectionArrived(rejection))

    @rule(
        state=st.sampled_from(["ready", "lost", "disconnected"]),
        boot=st.integers(1, 3),
        edge=st.sampled_from(["edge-1", "edge-2"]),
    )
    def edge_says(self, state: m.NodeState, boot: int, edge: str) -> None:
        self.post(e.EdgeAnnounced(edge_state(boot=boot, state=state, edge=edge)))

    @rule(link=st.sampled_from(["control", "data"]), up=st.booleans())
    def link(self, link: e.Link, up: bool) -> None:
        self.post(e.LinkCameUp(link) if up else e.LinkWentDown(link))

    @rule(often=st.integers(0, 15))
    def hand_over(self, often: int) -> None:
        if often == 0:
            self.post(e.HandoverRequested())

    @rule(often=st.integers(0, 15))
    def stop(self, often: int) -> None:
        if often == 0:
            self.post(e.StopRequested("asked"))

    @invariant()
    def sound(self) -> None:
        self.session.check()
        assert len(set(self.ended)) == len(self.ended), "answered or rejected twice"
        if self.stopped:
            assert len(self.ended) == self.captured * len(POLICIES)


DeviceMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestDevice = DeviceMachine.TestCase
