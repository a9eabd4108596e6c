"""What a session wants done, in the imperative. The runtime carries each out and posts how it went."""

from dataclasses import dataclass, field
from typing import Literal

from bus.messages import ActivationRequest, AnsweredBy, Feedback, StatisticsUpload


@dataclass(frozen=True, slots=True)
class RunWarmStart:
    """Run early exits `rows` times, stratified over the exits; answer with `WarmStartFinished`."""

    rows: int


@dataclass(frozen=True, slots=True)
class CaptureNext:
    """Take the next frame, not before `at` (seconds on the clock of `now`)."""

    at: float


@dataclass(frozen=True, slots=True)
class RunHead:
    """Run the head of an arm on a frame; answer with `HeadFinished` or `ComputeFailed`.

    Attributes:
        until: number of the exit that answers at the latest, sure or not; None is the arm's own end.
    """

    turn: int
    frame: object = field(repr=False)
    arm: int
    until: int | None = None


@dataclass(frozen=True, slots=True)
class SendRequest:
    """Publish a request to an edge worker; answer with `RequestSent` or `SendFailed`."""

    turn: int
    edge: str
    request: ActivationRequest = field(repr=False)


@dataclass(frozen=True, slots=True)
class RunFallback:
    """Finish a turn locally from what its head kept; answer with `FallbackFinished` or `ComputeFailed`.

    Attributes:
        exit: number of the exit to answer at, sure or not; None is the network's end.
    """

    turn: int
    kept: object = field(compare=False, repr=False)
    exit: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Hand the application its answer. Exactly one for each frame and policy that was not rejected."""

    seq: int
    policy: str
    top: int
    confidence: float
    answered_by: AnsweredBy
    total_ms: float


@dataclass(frozen=True, slots=True)
class RejectFrame:
    """Tell the application that a frame gets no answer from these policies, and why."""

    seq: int
    policies: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class PublishFeedback:
    """Publish what a turn cost; lost silently if the link is down.

    Attributes:
        check: number of the link check that its acknowledgement is: publish at QoS 1, and answer with
            `LinkChecked` or `LinkCheckFailed`; 0 for none.
        padded: of a check: white space after it makes it `link_checks.PADDED_BYTES` long.
    """

    feedback: Feedback
    check: int = 0
    padded: bool = False


@dataclass(frozen=True, slots=True)
class CheckLink:
    """Publish metrics as a padded link check, before a frame; see `PublishFeedback.check`."""

    check: int


@dataclass(frozen=True, slots=True)
class SendUpload:
    """Publish statistics; answer with `UploadSent` or `UploadSendFailed`. Always saved before."""

    upload: StatisticsUpload = field(repr=False)


@dataclass(frozen=True, slots=True)
class SaveSnapshot:
    """Write a snapshot, atomically and durably; answer with `SnapshotSaved` or `SnapshotFailed`."""

    number: int
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Note:
    """Write one line to the log."""

    level: Literal["debug", "info", "warning", "error"]
    event: str
    fields: tuple[tuple[str, str | int | float], ...] = ()


@dataclass(frozen=True, slots=True)
class Stop:
    """Everything is handed in: say goodbye and end. `error` is the sentence if a person must act."""

    error: str = ""


Command = (
    RunWarmStart
    | CaptureNext
    | RunHead
    | SendRequest
    | RunFallback
    | Answer
    | RejectFrame
    | PublishFeedback
    | CheckLink
    | SendUpload
    | SaveSnapshot
    | Note
    | Stop
)
