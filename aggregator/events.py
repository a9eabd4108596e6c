"""What can happen to an aggregator, in the past tense. The session is told nothing else."""

from dataclasses import dataclass

from aggregator.keys import GroupKey
from bus.errors import RemoteFault
from bus.messages import StatisticsUpload


@dataclass(frozen=True, slots=True)
class UploadArrived:
    """An upload came that could be decoded and names device and type of its topic."""

    upload: StatisticsUpload


@dataclass(frozen=True, slots=True)
class Number:
    """Which upload of a device it is, as far as it could be read."""

    install: str
    boot: int
    seq: int


@dataclass(frozen=True, slots=True)
class UploadBroken:
    """Something came on a device's topic that is no upload.

    Attributes:
        device, type: of the topic, which the broker's ACL binds to the sender.
        number: to refuse it by; None if it could not be read, then nobody can be told.
    """

    device: str
    type: str
    fault: RemoteFault
    detail: str
    number: Number | None = None


@dataclass(frozen=True, slots=True)
class SnapshotSaved:
    """The snapshot asked for last is on the disk, durably."""


@dataclass(frozen=True, slots=True)
class SnapshotFailed:
    """The snapshot asked for last could not be written; the one before is untouched.

    Attributes:
        reason: one phrase for people, as "No space left on device".
    """

    reason: str


@dataclass(frozen=True, slots=True)
class BroadcastEnded:
    """A broadcast was acknowledged by the broker, or failed and may have arrived all the same."""

    key: GroupKey
    succeeded: bool


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The time that `next_deadline()` named has come."""


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The connection is up; the state announced last was published again."""


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The connection is down."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Somebody wants this process to end; the second time, at once."""


Event = (
    UploadArrived
    | UploadBroken
    | SnapshotSaved
    | SnapshotFailed
    | BroadcastEnded
    | DeadlinePassed
    | LinkUp
    | LinkDown
    | StopRequested
)
