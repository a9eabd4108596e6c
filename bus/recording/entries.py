"""What a recording consists of: messages, and the gaps between them."""

from dataclasses import dataclass
from typing import Literal

from bus.connection import Properties

GapKind = Literal["disconnected", "too_slow", "broker_dropped"]


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it arrived.

    Attributes:
        number: place in the recording, from 0 on, gaps counted too.
        wall_ns: time of day at its arrival, since 1970; it jumps when somebody sets the clock.
        steady_ns: the same for a clock that was set once, when the recording began, and never jumps.
        topic, payload, qos, retained, properties: as delivered; `retained` was there before we came.
    """

    number: int
    wall_ns: int
    steady_ns: int
    topic: str
    payload: bytes
    qos: int = 0
    retained: bool = False
    properties: Properties | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """A moment when something may be missing.

    Attributes:
        number, wall_ns, steady_ns: as of `Message`; the end of the gap.
        kind: the connection was away, messages came faster than they could be taken, or the broker says that
            it has dropped some that subscribers did not take in time, perhaps this one.
        lost: messages that are known to be missing; 0 where nobody can know.
        seconds: how long it lasted; 0 where it has no length.
    """

    number: int
    wall_ns: int
    steady_ns: int
    kind: GapKind
    lost: int = 0
    seconds: float = 0.0


Entry = Message | Gap
