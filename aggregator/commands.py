"""What an aggregator's session wants done, in the imperative."""

from dataclasses import dataclass

from aggregator.keys import GroupKey
from bus.messages import AckMessage, GroupParameters, NodeState


@dataclass(frozen=True, slots=True)
class SaveSnapshot:
    """Write this durably; answer with `SnapshotSaved` or `SnapshotFailed`. One at a time."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class PublishAck:
    """Tell a device what became of its upload. If it is lost, the device asks again."""

    device: str
    type: str
    message: AckMessage


@dataclass(frozen=True, slots=True)
class PublishGroup:
    """Publish these parameters, retained, for each of the types; answer with `BroadcastEnded`."""

    key: GroupKey
    types: tuple[str, ...]
    parameters: GroupParameters


@dataclass(frozen=True, slots=True)
class ReportVerdict:
    """Log that the guard parked a device, or took it back.

    Attributes:
        sentence: which, and why.
    """

    key: GroupKey
    device: str
    parked: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class AnnounceState:
    """Publish this as the retained state, now and after every reconnect."""

    state: NodeState
    detail: str


@dataclass(frozen=True, slots=True)
class PublishMetrics:
    """Publish these number leaves, once, unretained."""

    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Stop:
    """What can be durable is durable: publish what is under way, close and end."""


Command = SaveSnapshot | PublishAck | PublishGroup | ReportVerdict | AnnounceState | PublishMetrics | Stop
