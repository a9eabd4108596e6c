"""What happens to a device, in the past tense: everything a session ever learns of the world.

Each event that completes a command carries the turn or number of that command, so that one which comes
late, twice or after a restart is told from the one that is waited for.
"""

from dataclasses import dataclass, field
from typing import Literal

from bus.errors import RemoteFault
from bus.messages import GroupParameters, InferenceReply, Rejection, State, UploadAck, UploadRefusal
from bus.tensors import Payload

Link = Literal["control", "data"]


@dataclass(frozen=True, slots=True)
class Head:
    """What a head left behind.

    Attributes:
        payload: the encoded activation, empty for the device-only arm.
        dtype, shape: of the tensor after decoding.
        head_ms, encode_ms: on the device's own clock, stretched if the compute is emulated.
        kept: whatever the compute needs to finish locally; opaque here.
        top: best class and its confidence, for the device-only arm and where an exit was sure.
        exit: number of the early exit that answered; None where none did.
        forced: it answered for the deadline's sake, without being sure.
    """

    payload: Payload = field(repr=False)
    dtype: str
    shape: tuple[int, ...]
    head_ms: float
    encode_ms: float
    kept: object = field(default=None, compare=False, repr=False)
    top: tuple[int, float] | None = None
    exit: int | None = None
    forced: bool = False


@dataclass(frozen=True, slots=True)
class ExitRow:
    """One early-exit run: its context row, shape (d,), and its latency in seconds."""

    context: tuple[float, ...]
    latency_s: float


@dataclass(frozen=True, slots=True)
class Started:
    """The runtime is up; the first event of all."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """A signal, or the end of what was asked for."""

    reason: str


@dataclass(frozen=True, slots=True)
class HandoverRequested:
    """Another session is ready to go on with the next frame, with another model."""


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The session is woken because `next_deadline` has come."""


@dataclass(frozen=True, slots=True)
class WarmStartFinished:
    """The early exits were run; `rows` is empty if they could not be, and `reason` says why."""

    rows: tuple[ExitRow, ...]
    weight: float = 1.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FrameCaptured:
    """A frame was taken from the source.

    Attributes:
        frame: (height, width, 3) uint8; opaque here.
        key_frame: it shows something else than the frame before it; true where nobody wants to know.
        capture_ms: from asking the source to having the frame here.
    """

    frame: object = field(repr=False)
    key_frame: bool = True
    capture_ms: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class SourceEnded:
    """No more frames will come; `error` is the sentence if that is a failure."""

    error: str = ""


@dataclass(frozen=True, slots=True)
class HeadFinished:
    """The head of a turn is done."""

    turn: int
    head: Head


@dataclass(frozen=True, slots=True)
class FallbackFinished:
    """The turn was finished locally, at the network's end or at the exit that `RunFallback` named."""

    turn: int
    top: int
    confidence: float
    fallback_ms: float


@dataclass(frozen=True, slots=True)
class ComputeFailed:
    """A head or a fallback raised."""

    turn: int
    reason: str


@dataclass(frozen=True, slots=True)
class RequestSent:
    """The request of a turn is written to the socket, which says nothing about its arrival."""

    turn: int


@dataclass(frozen=True, slots=True)
class SendFailed:
    """The request of a turn could not be written."""

    turn: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReplyArrived:
    """An edge worker's answer, to whatever request."""

    reply: InferenceReply = field(repr=False)


@dataclass(frozen=True, slots=True)
class RejectionArrived:
    """An edge worker's refusal."""

    rejection: Rejection


@dataclass(frozen=True, slots=True)
class LinkCameUp:
    """A connection to the broker stands."""

    link: Link


@dataclass(frozen=True, slots=True)
class LinkWentDown:
    """A connection was lost; it is being made again."""

    link: Link
    reason: str = ""
    taken_over: bool = False


@dataclass(frozen=True, slots=True)
class FrameDue:
    """The source knows when the frame that is being captured will come: `at`, seconds, monotonic."""

    at: float


@dataclass(frozen=True, slots=True)
class LinkChecked:
    """The broker has acknowledged what was link check `number`, after so many seconds."""

    number: int
    seconds: float


@dataclass(frozen=True, slots=True)
class LinkCheckFailed:
    """What was a link check could not be handed to the broker, or nobody knows."""

    number: int


@dataclass(frozen=True, slots=True)
class EdgeAnnounced:
    """The retained state of an edge worker, or its will."""

    state: State


@dataclass(frozen=True, slots=True)
class QueueTold:
    """For how long a request would wait at an edge worker that arrived now, seconds, and behind how many."""

    edge: str
    free_s: float
    jobs: int


@dataclass(frozen=True, slots=True)
class GroupBroadcast:
    """The group's parameters, retained or fresh."""

    parameters: GroupParameters = field(repr=False)


@dataclass(frozen=True, slots=True)
class BadMessageArrived:
    """Bytes that are no message of ours; counted, never more."""

    fault: RemoteFault
    detail: str


@dataclass(frozen=True, slots=True)
class UploadSent:
    """The broker has acknowledged an upload, which is not the aggregator's acknowledgement."""

    boot: int
    seq: int


@dataclass(frozen=True, slots=True)
class UploadSendFailed:
    """An upload could not be handed to the broker, or nobody knows."""

    boot: int
    seq: int
    reason: str


@dataclass(frozen=True, slots=True)
class AckArrived:
    """The aggregator has merged an upload."""

    ack: UploadAck


@dataclass(frozen=True, slots=True)
class RefusalArrived:
    """The aggregator will never merge an upload."""

    refusal: UploadRefusal


@dataclass(frozen=True, slots=True)
class SnapshotSaved:
    """Snapshot `number` is on the disk, durably."""

    number: int


@dataclass(frozen=True, slots=True)
class SnapshotFailed:
    """Snapshot `number` could not be written; the older one is untouched."""

    number: int
    reason: str


Event = (
    Started
    | StopRequested
    | HandoverRequested
    | DeadlinePassed
    | WarmStartFinished
    | FrameDue
    | FrameCaptured
    | SourceEnded
    | HeadFinished
    | FallbackFinished
    | ComputeFailed
    | RequestSent
    | SendFailed
    | ReplyArrived
    | RejectionArrived
    | LinkCameUp
    | LinkWentDown
    | LinkChecked
    | LinkCheckFailed
    | EdgeAnnounced
    | QueueTold
    | GroupBroadcast
    | BadMessageArrived
    | UploadSent
    | UploadSendFailed
    | AckArrived
    | RefusalArrived
    | SnapshotSaved
    | SnapshotFailed
)
