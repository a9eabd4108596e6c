"""What an edge worker's session wants done, in the imperative."""

from dataclasses import dataclass

from bus.messages import ActivationRequest, InferenceReply, NodeState, QueueNotice, Rejection


@dataclass(frozen=True, slots=True)
class RunTail:
    """Run these together on an idle worker; answer with `TailFinished`, always.

    Attributes:
        requests: of different devices, for the same tail.
    """

    worker: int
    requests: tuple[ActivationRequest, ...]


@dataclass(frozen=True, slots=True)
class PublishReply:
    """Send the answer to the device's own reply topic, and to no other.

    Attributes:
        expires_s: the broker may drop it after this long.
        correlation: to be echoed.
    """

    device: str
    reply: InferenceReply
    expires_s: float
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class PublishRejection:
    """Tell the device, on its own reply topic, that no answer will come; the rest as in `PublishReply`."""

    device: str
    rejection: Rejection
    expires_s: float
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class AnnounceState:
    """Publish this as the retained state, now and after every reconnect.

    Attributes:
        load: jobs waiting or running, mean over the last announcement period.
        speed: tails a second that this worker can run.
        models: hashes served, sorted, comma separated. arms: digests of what each can be asked for.
    """

    state: NodeState
    load: float
    speed: float
    models: str = ""
    arms: str = ""


@dataclass(frozen=True, slots=True)
class PublishQueue:
    """Tell all devices for how long a request would wait that arrived now."""

    notice: QueueNotice


@dataclass(frozen=True, slots=True)
class DropModel:
    """Forget this model: nothing is waiting or running for it, and nobody will be let in for it."""

    model: str


@dataclass(frozen=True, slots=True)
class PublishMetrics:
    """Publish these number leaves, once, unretained."""

    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Stop:
    """Everything is answered or rejected: close the connections and end."""


Command = (
    RunTail
    | PublishReply
    | PublishRejection
    | AnnounceState
    | PublishQueue
    | DropModel
    | PublishMetrics
    | Stop
)
