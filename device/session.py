"""A device as a state machine: events in, commands out, no I/O.

It does for you: answer every captured frame exactly once, or reject it with a reason, whatever is lost,
doubled, late or out of order; finish locally when the edge worker, the link or the time fails; let one
policy learn and others play the same frames beside it; bring what was learnt to the aggregator exactly
once and take the group's knowledge back; hand everything in before it stops.
It does not: run a network, read a clock, draw a random number, touch a socket or a file.
You must: post `Started` first; carry out every command and post its completion or failure; write
snapshots atomically and durably before posting `SnapshotSaved`; wake it with `DeadlinePassed` at
`next_deadline`; give each start of an install a higher boot; let nothing run after `Stop`.

    starting -> warming -> waiting -> running -> draining -> flushing -> stopped
       (early exits)  (an edge worker)      (turn in play)  (last upload)

A handover to another session drains later: it captures nothing more, and every frame it has is played.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, assert_never

import numpy as np

from bandits.fedlinucb import FedLinUCBDW
from bandits.offline import experience
from bandits.policy import Policy
from bus.errors import ConfigurationError, RemoteProtocolError
from bus.faults import Faults
from bus.messages import UploadRefusal
from device import events as e
from device.commands import Answer, CaptureNext, Command, Note, RunWarmStart, Stop
from device.edges import Edges
from device.exploration import Exploration
from device.finishing import Finishing
from device.limits import Limits
from device.metrics import metrics_of
from device.plan import Identity, Plan
from device.saver import Saver
from device.state_bytes import encode_state
from device.turns import Turns
from device.upload import Uploads

Phase = Literal["starting", "warming", "waiting", "running", "draining", "flushing", "stopped"]


class DeviceSession:
    """One device.

    Attributes:
        phase: see the picture above.
        handed_over: it ends because another session was to go on, and for no other reason.
        turns, uploads, saver, edges, faults: the parts; read only.

    Args:
        identity, plan, limits: who, what, how long.
        policies: the main one first; the others play the same frames, learn for themselves and share nothing.
        draw: uniform numbers in [0, 1), for the choice of an edge worker.
        frames: stop after so many; None for as long as the source lasts.
        warm_start: rows of early-exit experience before the first frame, once in the life of an install.
        restored: what `dump` returned at the last start.
        exit_s: seconds to each exit that may answer, and to the end; none answers for a deadline's sake where
            they are not known.

    Raises:
        ConfigurationError: `restored` was made with other settings.
    """

    def __init__(
        self,
        identity: Identity,
        plan: Plan,
        policies: tuple[Policy, ...],
        *,
        draw: Callable[[], float],
        limits: Limits,
        frames: int | None = None,
        warm_start: int = 0,
        restored: dict[str, Any] | None = None,
        exit_s: Sequence[float] = (),
    ) -> None:
        self.identity = identity
        self.limits = limits
        self.phase: Phase = "starting"
        self.faults = Faults()
        self.reconnects = 0
        self._plan = plan
        self._policies = policies
        self._others = _restore(policies, restored)
        self._frames = frames
        self._warm_start = warm_start
        self.handed_over = False
        self._handing_over = False
        self._capturing = False
        self._captured_at = 0.0
        self._source_ended = False
        self._error = ""
        self._wait_until = 0.0
        self._flush_until = 0.0
        self.edges = Edges(plan.model, plan.asks, draw)
        self.saver = Saver(lambda: encode_state(self.dump()), limits.save_every_s)
        self.turns = Turns(
            identity,
            plan,
            policies,
            self.edges,
            limits,
            Finishing(plan, exit_s),
            Exploration(limits.explored, draw),
        )
        main = policies[0]
        self.uploads: Uploads | None = None
        if isinstance(main, FedLinUCBDW):
            self.uploads = Uploads(identity, plan, main.member, self.saver, limits)

    def handle(self, event: e.Event, now: float) -> list[Command]:
        """Change state by one event and return what is to be done.

        Args:
            event: what happened.
            now: seconds, monotonic.
        """
        if self._stopped:
            return []
        try:
            commands = self._dispatch(event, now)
        except RemoteProtocolError as error:
            commands = self._count(error, now)
        commands += self._progress(now)
        commands += self.edges.news(playing=self.phase == "running")
        if self.uploads is not None:
            if any(isinstance(c, Answer) and c.policy == self._policies[0].name for c in commands):
                self.uploads.learned(now)
            commands += self.uploads.advance(now)
        commands += self._finish(now)
        if not self._stopped:
            commands += self.saver.advance(now)
        return commands

    def next_deadline(self) -> float | None:
        """When to be woken if nothing happens before."""
        if self._stopped:
            return None
        times = [self.turns.give_up_at, self.turns.look_at, self.saver.due_at]
        if self.uploads is not None:
            times.append(self.uploads.resend_at)
        if self.phase == "waiting":
            times.append(self._wait_until)
        if self.phase == "flushing":
            times.append(self._flush_until)
        return min((time for time in times if time is not None), default=None)

    @property
    def _stopped(self) -> bool:
        return self.phase == "stopped"

    def metrics(self) -> dict[str, float]:
        """Return the leaves of a metrics message."""
        leaves = {"boot": float(self.identity.boot), "reconnects": float(self.reconnects)}
        return leaves | metrics_of(self.turns, self.uploads, self.saver) | self.faults.metrics()

    def dump(self) -> dict[str, Any]:
        """Return all that was learnt, as primitives and arrays."""
        learnt = {policy.name: policy.dump() for policy in self._policies}
        return {
            "install": self.identity.install,
            "boot": self.identity.boot,
            "policies": {**self._others, **learnt},
        }

    def check(self) -> None:
        """Assert the invariants; for tests, after each event."""
        self.turns.check()
        if self.uploads is not None:
            self.uploads.check()
        if self.phase in {"starting", "warming", "waiting"}:
            assert self.turns.captured == 0
        if self.phase in {"flushing", "stopped"}:
            assert self.turns.idle
        if self._frames is not None and self.limits.frame_period_s == 0.0:
            assert self.turns.captured <= self._frames

    def _dispatch(self, event: e.Event, now: float) -> list[Command]:  # noqa: C901, PLR0911, PLR0912 - a table
        """Hand an event to the part it concerns."""
        match event:
            case e.HeadFinished(turn, head):
                return self.turns.head_finished(turn, head, now)
            case e.FallbackFinished():
                return self.turns.fallback_finished(event, now)
            case e.ComputeFailed(turn, reason):
                return self.turns.compute_failed(turn, reason, now)
            case e.RequestSent(turn):
                return self.turns.sent(turn)
            case e.SendFailed(turn, reason):
                return self.turns.send_failed(turn, reason, now)
            case e.ReplyArrived(reply):
                return self.turns.replied(reply, now)
            case e.RejectionArrived(rejection):
                return self.turns.rejected(rejection, now)
            case e.DeadlinePassed():
                return self.turns.woken(now)
            case e.EdgeAnnounced(state):
                return self.turns.edge_gone(state.id, now) if self.edges.announced(state) else []
            case e.QueueTold(edge, free_s, jobs):
                self.edges.told(edge, free_s, jobs, now)
                return []
            case e.BadMessageArrived(fault, detail):
                raise RemoteProtocolError(fault, detail)
            case e.SnapshotSaved(number):
                return self.saver.saved(number)
            case e.SnapshotFailed(number, reason):
                return self.saver.failed(number, reason, now)
            case e.LinkChecked(number, seconds):
                return self.turns.link_checked(number, seconds)
            case e.LinkCheckFailed(number):
                return self.turns.link_check_failed(number)
            case e.FrameDue(at):
                self.turns.ahead.expect(at)
                return []
            case e.LinkCameUp(link):
                return self._link_came_up(link, now)
            case e.LinkWentDown():
                return self._link_went_down(event, now)
            case (
                e.Started()
                | e.WarmStartFinished()
                | e.FrameCaptured()
                | e.SourceEnded()
                | e.StopRequested()
                | e.HandoverRequested()
            ):
                return self._live(event, now)
            case _:
                return self._learn(event, now)

    def _live(
        self,
        event: e.Started
        | e.WarmStartFinished
        | e.FrameCaptured
        | e.SourceEnded
        | e.StopRequested
        | e.HandoverRequested,
        now: float,
    ) -> list[Command]:
        """Move through the phases."""
        match event:
            case e.Started():
                return self._start(now)
            case e.WarmStartFinished():
                return self._warm(event, now)
            case e.FrameCaptured(frame, key_frame, capture_ms):
                self._capturing, self._captured_at = False, now
                return self.turns.capture(frame, now, key_frame=key_frame, capture_ms=capture_ms)
            case e.SourceEnded(error):
                # Also when it broke off: what was learnt is handed in first, like at any other end.
                self._capturing, self._source_ended, self._error = False, True, error
                return [] if error else [Note("info", "source_ended", (("frames", self.turns.captured),))]
            case e.StopRequested(reason):
                return self._stop_requested(reason)
            case e.HandoverRequested():
                self._handing_over = True
                return []
            case _:
                assert_never(event)

    def _learn(
        self,
        event: e.AckArrived | e.RefusalArrived | e.GroupBroadcast | e.UploadSent | e.UploadSendFailed,
        now: float,
    ) -> list[Command]:
        """Take in what concerns the federation; without a member nothing does."""
        if self.uploads is None:
            return []
        match event:
            case e.AckArrived(ack):
                return self.uploads.acknowledged(ack, now)
            case e.RefusalArrived(refusal):
                return self._refused(refusal, self.uploads.refused(refusal, now))
            case e.GroupBroadcast(parameters):
                return self.uploads.broadcast(parameters, now)
            case e.UploadSent():
                return []  # the broker has it, which says nothing about the aggregator
            case e.UploadSendFailed(_, seq, reason):
                return [Note("warning", "upload_not_sent", (("seq", seq), ("reason", reason)))]
            case _:
                assert_never(event)

    def _start(self, now: float) -> list[Command]:
        # The boot counter is durable before the first upload anyway; writing it now keeps a stale will stale.
        self.saver.needed(now)
        main = self._policies[0]
        if isinstance(main, FedLinUCBDW) and self._warm_start > 0 and not main.member.joined:
            self.phase = "warming"
            return [RunWarmStart(self._warm_start)]
        self._wait(now)
        return []

    def _warm(self, event: e.WarmStartFinished, now: float) -> list[Command]:
        if self.phase != "warming" or self.uploads is None:
            return []
        self._wait(now)
        if not event.rows:
            return [Note("warning", "no_warm_start", (("reason", event.reason),))]
        rows = [(np.array(row.context), row.latency_s) for row in event.rows]
        self.turns.warmed(event.rows)
        self.uploads.join(experience(rows, self._plan.dimension, weight=event.weight), now)
        return [Note("info", "warm_start_done", (("rows", len(rows)),))]

    def _wait(self, now: float) -> None:
        """Give edge workers a moment to be seen, so that the first frames are not all played alone."""
        self.phase = "waiting"
        self._wait_until = now + self.limits.wait_edge_s

    def _link_came_up(self, link: e.Link, now: float) -> list[Command]:
        if link == "data":
            self.turns.link_came_up(now)
        elif self.uploads is not None:
            self.uploads.link_came_up()
        return []

    def _link_went_down(self, event: e.LinkWentDown, now: float) -> list[Command]:
        self.reconnects += 1
        if event.taken_over:
            return self._stop_now(
                f"another client uses the id {self.identity.device!r} on this broker: "
                "give each device an --id of its own"
            )
        if event.link == "data":
            return self.turns.link_lost(now)
        if self.uploads is not None:
            self.uploads.link_up = False
        return []

    def _refused(self, refusal: UploadRefusal, commands: list[Command]) -> list[Command]:
        """End if no upload of this device will ever be merged, which a person has to know; else go on."""
        if not commands or refusal.reason != "unknown_type":
            return commands
        error = (
            f"the aggregator takes no devices of type {self.identity.type!r}: correct --type, or add the "
            "type to a group of the aggregator"
        )
        return [*commands, *self._stop_now(error)]

    def _stop_requested(self, reason: str) -> list[Command]:
        self.handed_over = False
        if self.phase in {"draining", "flushing"}:
            return self._stop_now("")  # asked twice
        return [Note("info", "stopping", (("reason", reason),)), *self._drain()]

    def _stop_now(self, error: str) -> list[Command]:
        self.phase, self.handed_over = "stopped", False
        return [*self.turns.abort(), Stop(error)]

    def _drain(self) -> list[Command]:
        self.phase = "draining"
        return self.turns.drain()

    def _progress(self, now: float) -> list[Command]:
        """Begin to capture, go on capturing, or begin to stop."""
        if self.phase == "waiting" and (
            self._handing_over
            or now >= self._wait_until
            or (self.turns.link_up and self.edges.any_ready(now))
        ):
            self.phase = "running"
            self._captured_at = now - self.limits.frame_period_s
        if self.phase != "running" or self._capturing:
            return []
        played = self._frames is not None and self.turns.captured >= self._frames
        if played or self._source_ended or self._handing_over:
            if not self.turns.idle:
                return []
            self.handed_over = not played and not self._source_ended
            return self._drain()
        period_s = self.limits.frame_period_s
        if period_s == 0.0 and not self.turns.idle:
            return []
        self._capturing = True
        at = max(now, self._captured_at + period_s)
        if period_s > 0.0:
            self.turns.ahead.expect(at)
        return [CaptureNext(at)]

    def _finish(self, now: float) -> list[Command]:
        """Hand in what was learnt once the last turn is answered, then stop."""
        commands: list[Command] = []
        if self.phase == "draining" and self.turns.idle:
            self.phase = "flushing"
            self._flush_until = now + self.limits.flush_s
            self.saver.needed(now)
            if self.uploads is not None:
                self.uploads.drain()
                commands += self.uploads.advance(now)
        if self.phase != "flushing":
            return commands
        drained = self.uploads is None or self.uploads.drained
        if drained and not self.saver.settled:
            self.saver.needed(now)
        if (drained and self.saver.settled) or now >= self._flush_until:
            self.phase = "stopped"
            return [*commands, Stop(self._error)]
        return commands

    def _count(self, error: RemoteProtocolError, now: float) -> list[Command]:
        self.faults.count(error.fault)
        if not self.faults.worth_logging(error.fault, now):
            return []
        return [Note("warning", "bad_message", (("fault", error.fault), ("detail", error.detail)))]


def _restore(policies: tuple[Policy, ...], restored: dict[str, Any] | None) -> dict[str, Any]:
    """Give each policy what it had learnt; return what belongs to policies that do not play this time."""
    try:
        learnt = dict(restored["policies"]) if restored is not None else {}
        for policy in policies:
            if policy.name in learnt:
                policy.load(learnt.pop(policy.name))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"the saved state does not fit these settings ({error}): give another --state-dir to start afresh"
        ) from None
    return learnt
