"""What can happen to an edge worker, in the past tense. The session is told nothing else."""

from dataclasses import dataclass, field

from bus.errors import RemoteFault
from bus.messages import ActivationRequest
from edge.batching import Batches


@dataclass(frozen=True, slots=True)
class RequestArrived:
    """A request came that could be decoded and names the device of its topic.

    Attributes:
        device: of the topic, which the broker's ACL binds to the sender.
        correlation: MQTT 5 correlation data, echoed in the answer.
    """

    device: str
    request: ActivationRequest
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class RequestBroken:
    """Something came on a device's topic that is no request.

    Attributes:
        request_id: as far as it could be read; empty if it could not.
    """

    device: str
    fault: RemoteFault
    detail: str
    request_id: str = ""
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class WorkerIdle:
    """A worker has warmed up and waits for its first tail."""

    worker: int


@dataclass(frozen=True, slots=True)
class Output:
    """What a tail gave for one frame.

    Attributes:
        top: index of the best class. confidence: its softmax value.
        dtype, shape, payload: the network's output.
        decode_ms, tail_ms: time in the worker thread, until all frames of the batch were through: each has
            waited for the others.
    """

    top: int
    confidence: float
    dtype: str
    shape: tuple[int, ...]
    payload: memoryview
    decode_ms: float
    tail_ms: float


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no output for one frame.

    Attributes:
        fault: what was wrong with the payload, or None if the failure is this side's own.
    """

    fault: RemoteFault | None
    detail: str


@dataclass(frozen=True, slots=True)
class TailFinished:
    """A worker has run its tail and is idle again.

    Attributes:
        outcomes: one for each request of `RunTail`, in their order.
    """

    worker: int
    outcomes: tuple[Output | Failure, ...]


@dataclass(frozen=True, slots=True)
class ModelLoaded:
    """A model can be asked for from now on: it is loaded, and its tails are warm.

    Attributes:
        arms: the (cut, codec) that it can be asked for.
        batches: how many frames its tails take at once.
    """

    model: str
    arms: frozenset[tuple[int, str]]
    batches: Batches = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelRemoved:
    """Somebody took a model out of the folder: no new device shall come for it."""

    model: str


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The time that `next_deadline()` named has come."""


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The control connection is up; the state announced last was published again."""


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The control connection is down."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Somebody wants this process to end; the second time, at once."""


Event = (
    RequestArrived
    | RequestBroken
    | WorkerIdle
    | TailFinished
    | ModelLoaded
    | ModelRemoved
    | DeadlinePassed
    | LinkUp
    | LinkDown
    | StopRequested
)
