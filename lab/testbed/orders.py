"""What coordinator and devices of a testbed tell each other, over the bus itself.

Orders go to one device, reports come back from it. Either may be lost, doubled or late: an order is sent
again until its report has come, and a device that is asked twice reports twice and plays once.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from bus.errors import RemoteProtocolError
from bus.tensors import Payload
from bus.topics import KIB, MIB, Form, Role, Topic
from lab.simulator.spec import Learner

# Not in the bus's own table: a site without a testbed has neither topic, and no role may use them there.
ORDER = Topic("lab-order", ("device",), (), (Role.DEVICE,), (), 1, False, Form.JSON, 256 * KIB)
REPORT = Topic("lab-report", ("device",), (Role.DEVICE,), (), (), 1, False, Form.JSON, 1 * MIB)

_Count = Annotated[int, Meta(ge=0)]
_Words = Annotated[str, Meta(max_length=2000)]


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Base of both directions: `number` of the order that it is, or answers; unknown fields are skipped."""

    number: _Count


class Player(msgspec.Struct, frozen=True, kw_only=True):
    """One policy on one device: a device of its own on the bus.

    Attributes:
        policy: its name in the experiment.
        id, type: on the bus; devices of one type learn together.
        learner: what it is.
        seed: of what it draws.
    """

    policy: str
    id: str
    type: str
    learner: Learner
    seed: int


class Join(Message, frozen=True, kw_only=True, tag="join"):
    """Begin a repetition: forget the last one's players and start these.

    Attributes:
        seed: of the frames.
        fps: the most frames a second.
        deadline_ms, fallback_at, patience: as `cans device` has them.
        warm_rows: rows of early-exit experience for those learners that have a warm start.
    """

    seed: int
    fps: float
    deadline_ms: float
    fallback_at: float
    patience: float
    players: tuple[Player, ...]


class Play(Message, frozen=True, kw_only=True, tag="play"):
    """Play so many frames of the film from `first` on, under one policy, the first after some seconds."""

    policy: str
    first: _Count
    frames: Annotated[int, Meta(ge=1, le=100_000)]
    after_s: Annotated[float, Meta(ge=0.0, le=3600.0)] = 0.0


class Leave(Message, frozen=True, kw_only=True, tag="leave"):
    """End: all players hand in what they have learnt, then the process is done."""


Order = Join | Play | Leave


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A frame that was answered.

    Attributes:
        seq: which frame of the film.
        arm: what was played. by: who answered (`bus.messages.AnsweredBy`).
        top: the class.
        stages: `total`, and where it went, in ms, as feedback names them.
    """

    seq: int
    arm: str
    by: str
    reason: str
    top: int
    met: bool
    sent_bytes: int
    stages: dict[str, float]


class Joined(Message, frozen=True, kw_only=True, tag="joined"):
    """All players are there, and have seen an edge worker.

    Attributes:
        label: of the network and of what is emulated, for people.
        arms: labels of what can be played.
        model: its hash.
        versions: of the software.
    """

    label: str
    model: str
    arms: tuple[str, ...]
    versions: dict[str, str]


class Played(Message, frozen=True, kw_only=True, tag="played"):
    """A block has been played.

    Attributes:
        rows: answered frames, in order. lost: frames without an answer, to the reason.
        cpu_s: processor seconds of the whole device process meanwhile.
        messages, bytes: statistics that went up since the last such report; the first counts joining too.
    """

    policy: str
    rows: tuple[Row, ...]
    lost: dict[str, str]
    cpu_s: float
    messages: int
    bytes: int


class Failed(Message, frozen=True, kw_only=True, tag="failed"):
    """An order could not be carried out, and why, for people."""

    why: _Words


class Left(Message, frozen=True, kw_only=True, tag="left"):
    """Gone."""


Report = Joined | Played | Failed | Left

_ORDERS: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)
_REPORTS: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)


def read_order(payload: Payload) -> Order:
    """Return an order.

    Raises:
        RemoteProtocolError: it is none.
    """
    try:
        return _ORDERS.decode(payload)
    except msgspec.MsgspecError as error:
        raise RemoteProtocolError("malformed", str(error)[:200]) from None


def read_report(payload: Payload) -> Report:
    """Return a report.

    Raises:
        RemoteProtocolError: it is none.
    """
    try:
        return _REPORTS.decode(payload)
    except msgspec.MsgspecError as error:
        raise RemoteProtocolError("malformed", str(error)[:200]) from None
