"""One turn in play, and the two messages that tell of it: the request and the feedback.

This file must never change a turn.
"""

from dataclasses import dataclass
from typing import Literal

from bus.messages import ActivationRequest, Feedback
from device.commands import Answer
from device.events import Head
from device.limits import Limits
from device.plan import Identity, Plan

Stage = Literal["head", "waiting", "fallback"]


@dataclass(slots=True)
class Turn:
    """One turn in play. `captured_at` of a frame's later turns is their own beginning.

    Its fallback ends at exit `until`, or at the network's end where that is None. `excused` is one that
    waited in vain for an edge worker that was not back yet: it teaches nothing.
    """

    id: int
    seq: int
    policy: str
    arm: int
    captured_at: float
    began_at: float
    stage: Stage = "head"
    head: Head | None = None
    edge: str = ""
    sent_at: float = 0.0
    give_up_at: float = 0.0
    head_ended_at: float = 0.0
    fell_back_at: float = 0.0
    capture_ms: float = 0.0
    sent_bytes: int = 0
    reason: str = ""
    refused: bool = False
    excused: bool = False
    until: int | None = None
    propensity: float = 0.0
    expected_ms: float = 0.0
    unsure_ms: float = 0.0
    version: int = 0


@dataclass(frozen=True, slots=True)
class RemoteStages:
    """Milliseconds after the device part; zero where a stage was not reached or not measured.

    The words and their clocks are those of `bus/stages.py`.
    """

    link_ms: float = 0.0
    queue_ms: float = 0.0
    decode_ms: float = 0.0
    tail_ms: float = 0.0
    reply_ms: float = 0.0
    vain_ms: float = 0.0
    fallback_ms: float = 0.0

    @property
    def all_ms(self) -> float:
        """Their sum."""
        on_edge_ms = self.queue_ms + self.decode_ms + self.tail_ms + self.reply_ms
        return self.link_ms + on_edge_ms + self.vain_ms + self.fallback_ms


NO_STAGES = RemoteStages()


def request_id_of(turn: Turn, identity: Identity) -> str:
    """Return the id of a turn's request; the install tells a wiped device from its former life."""
    return f"{identity.install}-{identity.boot}-{turn.id}"


def request_of(turn: Turn, identity: Identity, plan: Plan, head: Head, budget_ms: float) -> ActivationRequest:
    """Return the request of a turn; `budget_ms` is the time left for the answer to arrive."""
    arm = plan.arms[turn.arm]
    return ActivationRequest(
        id=request_id_of(turn, identity),
        device=identity.device,
        type=identity.type,
        model=plan.model,
        cut=arm.cut,
        codec=arm.codec,
        dtype=head.dtype,
        shape=head.shape,
        seq=turn.seq,
        budget_ms=budget_ms,
        payload=memoryview(head.payload),
    )


def feedback_of(
    turn: Turn, identity: Identity, plan: Plan, answer: Answer, stages: RemoteStages, limits: Limits
) -> Feedback:
    """Return what a turn that was answered has cost, stage by stage."""
    assert turn.head is not None
    arm = plan.arms[turn.arm]
    # All that is not another stage, wherever it was spent: so the stages add up to the total.
    wait_ms = max(0.0, answer.total_ms - turn.head.head_ms - turn.head.encode_ms - stages.all_ms)
    return Feedback(
        device=identity.device,
        type=identity.type,
        model=plan.model,
        policy=turn.policy,
        seq=turn.seq,
        arm=plan.number(turn.arm),
        cut=arm.cut,
        codec=arm.codec,
        answered_by=answer.answered_by,
        reason=turn.reason,
        sent_bytes=turn.sent_bytes,
        head_ms=turn.head.head_ms,
        encode_ms=turn.head.encode_ms,
        link_ms=stages.link_ms,
        queue_ms=stages.queue_ms,
        decode_ms=stages.decode_ms,
        tail_ms=stages.tail_ms,
        fallback_ms=stages.fallback_ms,
        total_ms=answer.total_ms,
        deadline_ms=limits.deadline_ms,
        deadline_met=answer.total_ms <= limits.deadline_ms,
        top=answer.top,
        confidence=answer.confidence,
        emulated=identity.emulated,
        capture_ms=turn.capture_ms,
        wait_ms=wait_ms,
        reply_ms=stages.reply_ms,
        vain_ms=stages.vain_ms,
        expected_ms=turn.expected_ms,
        unsure_ms=turn.unsure_ms,
        version=turn.version,
        propensity=turn.propensity,
    )
