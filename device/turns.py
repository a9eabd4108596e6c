"""The life of a turn: one frame played under one policy.

    head --(device-only arm, an exit that is sure)----------> answered by device
    head --> waiting --(reply)------------------------------> answered by edge
    head or waiting --(no edge, rejection, link, deadline)--> fallback --> answered by fallback
    any --(compute failed)----------------------------------> rejected

What the device finishes by itself ends at the network's end, or, where the deadline comes before that, at the
deepest exit in time (`finishing.py`).
One turn at a time. A frame has one turn for each policy, in an order that changes with the frame number so
that each contestant plays right after each other equally often (`rotation.py`). One frame may wait behind
the one in play; a newer one takes its place and the older is rejected as `dropped`.
This file must never let one policy see what another's turn cost.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bandits.policy import Cost, Expects, HeedsExits, HeedsQueues, Policy
from bus.messages import AnsweredBy, InferenceReply, Rejection
from bus.statistics import DEFAULT_BOUNDS
from device.commands import (
    Answer,
    CheckLink,
    Command,
    PublishFeedback,
    RejectFrame,
    RunFallback,
    RunHead,
    SendRequest,
)
from device.edges import Edges
from device.events import ExitRow, FallbackFinished, Head
from device.exit_odds import ExitOdds
from device.exploration import Exploration
from device.finishing import Finishing
from device.key_frames import HeedsKeyFrames
from device.limits import Limits
from device.link_checks import LinkChecks
from device.look_ahead import LookAhead
from device.patience import Patience
from device.plan import Identity, Plan
from device.rotation import Rotation
from device.tally import LATENCIES_KEPT, Tally
from device.turn import NO_STAGES, RemoteStages, Stage, Turn, feedback_of, request_id_of, request_of

# What a field of milliseconds holds; before anything is known, nobody is surer than that.
_MOST_MS = 1e9
RETURN_S = 5.0
"""So long after a lost link is back an edge worker may still be on its way: a broker that was restarted loses
everybody, and remembers states of before."""


@dataclass(slots=True)
class _Frame:
    seq: int
    frame: object
    key_frame: bool
    captured_at: float
    to_play: list[str]
    capture_ms: float = 0.0


class Turns:
    """All turns of one device, one in play.

    Attributes:
        tallies: by policy name.
        excused: turns that waited in vain for an edge worker that was not back yet, and have taught nothing.
        late_replies: answers to requests that nobody waits for any more: late, doubled, or never ours.
        link_up: whether requests can be sent.
        link_checks: how the link does while nothing is offloaded.
        ahead: when to look at it before the next frame.
    """

    def __init__(
        self,
        identity: Identity,
        plan: Plan,
        policies: tuple[Policy, ...],
        edges: Edges,
        limits: Limits,
        finishing: Finishing,
        exploration: Exploration,
    ) -> None:
        self._identity = identity
        self._plan = plan
        self._policies = {policy.name: policy for policy in policies}
        self._heeding = {policy.name: policy for policy in policies if isinstance(policy, HeedsKeyFrames)}
        self._order = Rotation(list(self._policies))
        self._edges = edges
        self._limits = limits
        self._patience = Patience(limits.patience)
        self._finishing = finishing
        self._exploration = exploration
        self._main = policies[0].name
        self._exit_odds = ExitOdds(plan)
        self._last_turn = 0
        self._turn: Turn | None = None
        self._frame: _Frame | None = None
        self._waiting: _Frame | None = None
        self._captured = 0
        self._draining = False
        self.tallies = {name: Tally() for name in self._policies}
        self.late_replies = self.excused = 0
        self.link_up = False
        self._was_lost, self._returning_until = False, -math.inf
        self.link_checks = LinkChecks(plan, policies)
        self.ahead = LookAhead(self.link_checks, wanted=limits.look_ahead)

    @property
    def captured(self) -> int:
        """Frames captured so far."""
        return self._captured

    @property
    def idle(self) -> bool:
        """Whether no frame is in play or waiting."""
        return self._frame is None

    @property
    def give_up_at(self) -> float | None:
        """When the wait for an edge worker ends, None while nobody is waited for."""
        if self._turn is None or self._turn.stage != "waiting":
            return None
        return self._turn.give_up_at

    @property
    def look_at(self) -> float | None:
        """When to look at the link before the next frame; None where nothing is to be seen."""
        return self.ahead.at if self.idle and self.link_up and not self._draining else None

    def warmed(self, rows: Sequence[ExitRow]) -> None:
        """Learn from the deepest early exits what the whole network takes at most."""
        depths = [sum(row.context) for row in rows]
        for row, depth in zip(rows, depths, strict=True):
            if depth == max(depths):
                self._patience.played(row.latency_s)

    def wait_s(self, head_s: float) -> float:
        """Return how long an answer would be waited for after a head that took `head_s`."""
        return self._patience.wait_s(head_s)

    def capture(
        self, frame: object, now: float, *, key_frame: bool = True, capture_ms: float = 0.0
    ) -> list[Command]:
        """Take a frame in: play it, let it wait, or let it replace the one that waits."""
        new = _Frame(self._captured, frame, key_frame, now, self._order(self._captured), capture_ms)
        self._captured += 1
        self.ahead.captured()
        for tally in self.tallies.values():
            tally.sent += 1
        if self._draining:
            return [self._reject(new, "stopping")]
        if self._frame is None:
            self._frame = new
            return self._begin(now)
        dropped, self._waiting = self._waiting, new
        if dropped is None:
            return []
        # What changed with a frame that nobody sees has still changed since the last one that was played.
        new.key_frame |= dropped.key_frame
        return [self._reject(dropped, "dropped")]

    def head_finished(self, turn_id: int, head: Head, now: float) -> list[Command]:
        """Answer at once, send the request, or fall back."""
        turn = self._expect(turn_id, "head")
        if turn is None:
            return []
        turn.head, turn.head_ended_at = head, now
        self._exit_odds.asked(turn.arm, head.exit, sure=not head.forced)
        if head.top is not None:
            self._finishing.played(head.head_ms / 1000.0, head.exit)
            if head.exit is None:
                self._patience.played(head.head_ms / 1000.0)
            else:
                turn.reason = f"deadline exit {head.exit}" if head.forced else f"exit {head.exit}"
            return self._answer(turn, "device", *head.top, now=now)
        edge = self._edges.choose(now) if self.link_up else None
        turn.give_up_at = min(
            turn.captured_at + self._limits.wait_s, now + self.wait_s(head.head_ms / 1000.0)
        )
        budget_s = turn.give_up_at - now
        if edge is None:
            return self._fall_back(turn, "no_edge" if self.link_up else "link_lost", now)
        if budget_s <= 0.0:
            return self._fall_back(turn, "no_time", now)
        turn.stage, turn.edge, turn.sent_at = "waiting", edge, now
        turn.sent_bytes = memoryview(head.payload).nbytes
        request = request_of(turn, self._identity, self._plan, head, budget_s * 1000.0)
        return [SendRequest(turn.id, edge, request)]

    def sent(self, turn_id: int) -> list[Command]:
        """Count what went out."""
        if self._turn is not None and self._turn.id == turn_id:
            self.tallies[self._turn.policy].payload_bytes += self._turn.sent_bytes
        return []

    def send_failed(self, turn_id: int, reason: str, now: float) -> list[Command]:
        """Fall back: the request never left."""
        turn = self._expect(turn_id, "waiting")
        return [] if turn is None else self._fall_back(turn, reason, now)

    def replied(self, reply: InferenceReply, now: float) -> list[Command]:
        """Answer with the reply that is waited for; count any other."""
        self._edges.load_seen(reply.edge, reply.load)
        turn = self._asked(reply.id, reply.edge)
        if turn is None:
            return []
        edge_ms = reply.queue_ms + reply.decode_ms + reply.tail_ms + reply.reply_ms
        link_ms = max(0.0, (now - turn.sent_at) * 1000.0 - edge_ms)
        stages = RemoteStages(link_ms, reply.queue_ms, reply.decode_ms, reply.tail_ms, reply.reply_ms)
        return self._answer(turn, "edge", reply.top, reply.confidence, now=now, stages=stages)

    def rejected(self, rejection: Rejection, now: float) -> list[Command]:
        """Fall back, and leave an edge worker alone that cannot serve us at all."""
        self._edges.load_seen(rejection.edge, rejection.load)
        turn = self._asked(rejection.id, rejection.edge)
        if turn is None:
            return []
        if rejection.reason in {"unknown_model", "shutting_down"}:
            self._edges.rest(rejection.edge, now)
        turn.refused = True
        return self._fall_back(turn, rejection.reason, now)

    def edge_gone(self, edge: str, now: float) -> list[Command]:
        """Stop waiting for an edge worker that died or shut down."""
        turn = self._turn
        if turn is None or turn.stage != "waiting" or turn.edge != edge:
            return []
        return self._fall_back(turn, "edge_lost", now)

    def link_came_up(self, now: float) -> None:
        """Offload again; if it was lost, the edge worker may still be on its way back, too."""
        self.link_up = True
        self._returning_until = now + RETURN_S if self._was_lost else self._returning_until

    def link_lost(self, now: float) -> list[Command]:
        """Stop waiting: at QoS 0 neither request nor reply survives the connection."""
        self.link_up, self._was_lost = False, True
        turn = self._turn
        if turn is None or turn.stage != "waiting":
            return []
        return self._fall_back(turn, "link_lost", now)

    def woken(self, now: float) -> list[Command]:
        """Give up waiting if it is time, or look at the link before the next frame."""
        if self.look_at is not None:
            check = self.ahead.begin(now)
            return [CheckLink(check)] if check else []
        turn, give_up_at = self._turn, self.give_up_at
        if turn is None or give_up_at is None or now < give_up_at:
            return []
        turn.excused = turn.sent_at < self._returning_until
        return self._fall_back(turn, "deadline", now)

    def link_checked(self, number: int, seconds: float) -> list[Command]:
        """Tell the policies how the link does."""
        self.link_checks.ended(number, seconds)
        return []

    def link_check_failed(self, number: int) -> list[Command]:
        """Let the next frame begin another one."""
        self.link_checks.failed(number)
        return []

    def fallback_finished(self, event: FallbackFinished, now: float) -> list[Command]:
        """Answer with what was finished locally."""
        turn = self._expect(event.turn, "fallback")
        if turn is None:
            return []
        assert turn.head is not None
        if turn.until is None:
            whole_s = (turn.head.head_ms + event.fallback_ms) / 1000.0
            self._patience.played(whole_s)
            self._finishing.played(whole_s)
        vain_ms = (turn.fell_back_at - turn.head_ended_at) * 1000.0
        stages = RemoteStages(vain_ms=vain_ms, fallback_ms=event.fallback_ms)
        return self._answer(turn, "fallback", event.top, event.confidence, now=now, stages=stages)

    def compute_failed(self, turn_id: int, reason: str, now: float) -> list[Command]:
        """Reject the turn: neither its head nor its fallback can give an answer."""
        turn = self._turn
        if turn is None or turn.id != turn_id or turn.stage == "waiting":
            return []
        self.tallies[turn.policy].reject("compute_failed")
        rejected = RejectFrame(turn.seq, (turn.policy,), reason[:200])
        return [rejected, *self._end_turn(now)]

    def drain(self) -> list[Command]:
        """Begin nothing new: reject what waits and the turns not yet begun; the one in play goes on."""
        self._draining = True
        commands: list[Command] = []
        if self._frame is not None and self._frame.to_play:
            commands.append(self._reject(self._frame, "stopping"))
        if self._waiting is not None:
            commands.append(self._reject(self._waiting, "stopping"))
            self._waiting = None
        return commands

    def abort(self) -> list[Command]:
        """Reject everything, the turn in play too: the process ends now."""
        commands = self.drain()
        if self._turn is not None:
            self.tallies[self._turn.policy].reject("stopping")
            commands.append(RejectFrame(self._turn.seq, (self._turn.policy,), "stopping"))
            self._turn = self._frame = None
        return commands

    def check(self) -> None:
        """Assert the invariants: every turn of every captured frame is in exactly one place."""
        for name, tally in self.tallies.items():
            open_turns = sum(name in frame.to_play for frame in (self._frame, self._waiting) if frame)
            open_turns += self._turn is not None and self._turn.policy == name
            assert tally.sent == self._captured == tally.answers + tally.rejections + open_turns, name
            assert len(tally.total_ms) == min(tally.answers, LATENCIES_KEPT), name
        assert (self._frame is None) == (self._turn is None)
        assert self._waiting is None or self._frame is not None
        assert self._turn is None or (self._turn.head is None) == (self._turn.stage == "head")

    def _begin(self, now: float) -> list[Command]:
        """Let the next policy of the frame in play choose."""
        frame = self._frame
        assert frame is not None
        if len(frame.to_play) == len(self._policies):
            self.link_checks.look(now)  # once a frame, however many play it
        name = frame.to_play.pop(0)
        if name in self._heeding:
            self._heeding[name].key_frame = frame.key_frame
        arm, propensity = self._select(self._policies[name], now), 0.0
        if name == self._main:
            arm, propensity = self._exploration.choose(arm, len(self._plan.arms))
        if arm != self._plan.device_arm and not (self.link_up and self._edges.any_ready(now)):
            # The policy keeps its contexts and learns from the arm that was played instead.
            arm, propensity = self._plan.device_arm, 0.0
            self.tallies[name].masked += 1
        self._last_turn += 1
        self._turn = Turn(self._last_turn, frame.seq, name, arm, frame.captured_at, now)
        self._turn.capture_ms, self._turn.propensity = frame.capture_ms, propensity
        self._explain(self._turn)
        alone = arm == self._plan.device_arm
        until = self._finishing.before(self._left_s(self._turn, now)) if alone else None
        return [RunHead(self._turn.id, frame.frame, arm, until)]

    def _explain(self, turn: Turn) -> None:
        """Note why it was chosen, for people."""
        policy = self._policies[turn.policy]
        if isinstance(policy, Expects):
            mean_s, unsure_s = policy.expected(turn.arm)
            turn.version = policy.knows
            turn.expected_ms = min(max(0.0, 1000.0 * mean_s), _MOST_MS)
            turn.unsure_ms = min(1000.0 * unsure_s, _MOST_MS)

    def _select(self, policy: Policy, now: float) -> int:
        line = self._edges.line(now)
        if line is not None and isinstance(policy, HeedsQueues):
            policy.told(*line)
        if self._plan.exits and isinstance(policy, HeedsExits):
            policy.exits = self._exit_odds.of()
        return policy.select(self._plan.contexts)

    def _fall_back(self, turn: Turn, reason: str, now: float) -> list[Command]:
        assert turn.head is not None
        turn.stage, turn.reason, turn.fell_back_at = "fallback", reason[:64], now
        left_s, head_s = self._left_s(turn, now), turn.head.head_ms / 1000.0
        turn.until = self._finishing.behind(turn.arm, left_s, head_s)
        if turn.until is not None:
            turn.reason = f"deadline exit {turn.until}"
        return [RunFallback(turn.id, turn.head.kept, turn.until)]

    def _left_s(self, turn: Turn, now: float) -> float:
        return turn.captured_at + self._limits.deadline_ms / 1000.0 - now

    def _answer(
        self,
        turn: Turn,
        by: AnsweredBy,
        top: int,
        confidence: float,
        *,
        now: float,
        stages: RemoteStages | None = None,
    ) -> list[Command]:
        """Learn, report, and go on."""
        assert turn.head is not None
        total_ms = (now - turn.captured_at) * 1000.0
        device_s = (turn.head.head_ms + turn.head.encode_ms) / 1000.0
        # One frame of minutes (a stalled disk, a debugger) must not have the whole upload refused.
        spent_s = min(now - turn.began_at, DEFAULT_BOUNDS.cost_s)
        cost = _cost_of(turn, by, spent_s, min(device_s, spent_s), stages or NO_STAGES)
        tally = self.tallies[turn.policy]
        self._learn(turn, turn.head, cost)
        tally.answered[by] += 1
        tally.exits_sure += turn.head.exit is not None and not turn.head.forced
        tally.exits_forced += turn.head.forced or turn.until is not None
        tally.total_ms.append(total_ms)
        tally.deadlines_met += total_ms <= self._limits.deadline_ms
        answer = Answer(turn.seq, turn.policy, top, confidence, by, total_ms)
        feedback = feedback_of(turn, self._identity, self._plan, answer, stages or NO_STAGES, self._limits)
        self.ahead.answered(by_edge=by == "edge")
        check = 0 if by == "edge" else self.link_checks.begin(now)
        padded = bool(check) and self.link_checks.padded
        return [answer, PublishFeedback(feedback, check, padded=padded), *self._end_turn(now)]

    def _learn(self, turn: Turn, head: Head, cost: Cost) -> None:
        """Teach the turn's policy; what an exit answered never reached the arm's cut, and is none of its."""
        policy = self._policies[turn.policy]
        if turn.excused:
            self.excused += 1  # nobody was asked, it seems: that says nothing of what asking costs
            return
        if head.exit is None:
            policy.update(turn.arm, cost)
        elif isinstance(policy, HeedsExits):
            policy.exited(np.array(self._plan.exits[head.exit].context), head.head_ms / 1000.0)

    def _end_turn(self, now: float) -> list[Command]:
        """Go on with the frame's next policy, the frame that waits, or nothing."""
        assert self._frame is not None
        self._turn = None
        if self._frame.to_play:
            self._frame.captured_at, self._frame.capture_ms = now, 0.0
            return self._begin(now)
        self._frame, self._waiting = self._waiting, None
        return [] if self._frame is None else self._begin(now)

    def _reject(self, frame: _Frame, reason: str) -> RejectFrame:
        """Reject the turns of a frame that have not begun."""
        for name in frame.to_play:
            self.tallies[name].reject(reason)
        names, frame.to_play = tuple(frame.to_play), []
        return RejectFrame(frame.seq, names, reason)

    def _expect(self, turn_id: int, stage: Stage) -> Turn | None:
        """Return the turn in play if the event is its own; anything else is late or doubled."""
        turn = self._turn
        return turn if turn is not None and turn.id == turn_id and turn.stage == stage else None

    def _asked(self, request_id: str, edge: str) -> Turn | None:
        """Return the turn that waits for this answer, or count the answer as late."""
        turn = self._turn
        if (
            turn is None
            or (turn.stage, turn.edge) != ("waiting", edge)
            or request_id != request_id_of(turn, self._identity)
        ):
            self.late_replies += 1
            return None
        return turn


def _cost_of(turn: Turn, by: AnsweredBy, spent_s: float, device_s: float, stages: RemoteStages) -> Cost:
    """Return what a turn has cost, in the parts that policies tell apart."""
    if by == "device":
        return Cost(spent_s, device_s)
    if by == "edge":
        waited_s = stages.queue_ms / 1000.0
        # What is lost between the edge worker's threads is no work of its network either.
        between_s = (stages.link_ms + stages.reply_ms) / 1000.0
        return Cost(spent_s, device_s, between_s + waited_s, waited_s)
    # Not a missing row: the frame has cost that much at least. Finishing here was no waiting.
    waited_s = max(0.0, spent_s - device_s - stages.fallback_ms / 1000.0)
    return Cost(spent_s, device_s, waited_s, censored=True, refused=turn.refused)
