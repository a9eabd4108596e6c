"""What coordinator and devices of a testbed tell each other, over the bus itself.

Orders go to one device, reports come back from it. Either may be lost, doubled or late: an order is sent
again until its report has come, and a device that is asked twice reports twice and plays once. Numbers begin
anew with each coordinator, so both carry its mark; whom a device obeys is said in `allegiance.py`.
"""

import secrets
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from bus.errors import RemoteProtocolError
from bus.tensors import Payload
from bus.topics import LAB_ORDER, LAB_REPORT
from lab.simulator.spec import Learner

ORDER, REPORT = LAB_ORDER, LAB_REPORT
_Count = Annotated[int, Meta(ge=0)]
_Words = Annotated[str, Meta(max_length=2000)]
_Mark = Annotated[str, Meta(pattern=r"^[0-9a-f]{0,16}$")]
# A network's profile, every arm of it; the largest that have been measured are a third of this.
_Profile = Annotated[str, Meta(max_length=900_000)]


def new_mark() -> str:
    """Return what tells one coordinator from all others."""
    return secrets.token_hex(8)


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Base of both directions; unknown fields are skipped.

    Attributes:
        number: of the order that it is, or answers.
        mark: of the coordinator whose order that is.
    """

    number: _Count
    mark: _Mark = ""


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


class Enlist(Message, frozen=True, kw_only=True, tag="enlist"):
    """Say who you are, and play for nobody else from now on."""


class Keep(Message, frozen=True, kw_only=True, tag="keep"):
    """The coordinator is still there; no report is wanted."""


class Join(Message, frozen=True, kw_only=True, tag="join"):
    """Begin a repetition: forget the last one's players and start these.

    Attributes:
        seed: of the frames.
        fps: the most frames a second.
        deadline_ms, fallback_at, patience, look_ahead: as `cans device` has them.
        warm_rows: rows of early-exit experience for those learners that have a warm start.
        edge_s: seconds of decode and tail of each arm on the edge worker, for devices that have no
            --edge-profile; empty where nobody knows.
    """

    seed: int
    fps: float
    deadline_ms: float
    fallback_at: float
    patience: float
    players: tuple[Player, ...]
    look_ahead: bool = True
    edge_s: tuple[float, ...] = ()


class Play(Message, frozen=True, kw_only=True, tag="play"):
    """Play so many frames of the film from `first` on, under one policy.

    Attributes:
        after_s: when the first is taken.
        probe: time a constant piece of work behind the block, too.
        stop_when_late: end behind a frame whose answer came after the next one's moment.
    """

    policy: str
    first: _Count
    frames: Annotated[int, Meta(ge=1, le=100_000)]
    after_s: Annotated[float, Meta(ge=0.0, le=3600.0)] = 0.0
    probe: bool = False
    stop_when_late: bool = False


class Leave(Message, frozen=True, kw_only=True, tag="leave"):
    """End: all players hand in what they have learnt, then the process is done.

    Attributes:
        stay: the process is not done, but free for the next coordinator.
    """

    stay: bool = False


Order = Enlist | Keep | Join | Play | Leave


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


class Present(Message, frozen=True, kw_only=True, tag="present"):
    """Here, and yours.

    Attributes:
        label: of the network and of what is emulated, for people.
        model: its hash. arms: labels of what can be played.
        versions: of the software.
        machine: what it is, for people. emulated: it only pretends to be as slow as it is.
        profile: the file of `cans profile` that it was started with; empty for none.
    """

    label: str
    model: str
    arms: tuple[str, ...]
    versions: dict[str, str]
    machine: _Words
    emulated: bool = False
    profile: _Profile = ""


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
        probe_ms: what the constant piece of work took then, if that was asked.
    """

    policy: str
    rows: tuple[Row, ...]
    lost: dict[str, str]
    cpu_s: float
    messages: int
    bytes: int
    probe_ms: float | None = None

    @property
    def frames(self) -> int:
        """How many have been played."""
        return len(self.rows) + len(self.lost)


def whole(parts: Sequence[Played]) -> Played:
    """Return a block that was played in parts, at least one, as if it had been played in one."""
    probes = [part.probe_ms for part in parts if part.probe_ms is not None]
    return Played(
        number=parts[-1].number,
        mark=parts[-1].mark,
        policy=parts[0].policy,
        rows=tuple(row for part in parts for row in part.rows),
        lost={seq: why for part in parts for seq, why in part.lost.items()},
        cpu_s=sum(part.cpu_s for part in parts),
        messages=sum(part.messages for part in parts),
        bytes=sum(part.bytes for part in parts),
        probe_ms=max(probes, default=None),
    )


class Failed(Message, frozen=True, kw_only=True, tag="failed"):
    """An order could not be carried out, and why, for people."""

    why: _Words


class Busy(Message, frozen=True, kw_only=True, tag="busy"):
    """This device plays for another coordinator, which it has heard `silent_s` ago."""

    silent_s: Annotated[float, Meta(ge=0.0)]


class Left(Message, frozen=True, kw_only=True, tag="left"):
    """Gone, or free."""


Report = Present | Joined | Played | Failed | Busy | Left

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
