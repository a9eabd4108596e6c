"""Recorded feedback as arrays: what was played, how likely that was, what it cost, and where."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bus.errors import RemoteProtocolError
from bus.messages import Feedback
from bus.recording.entries import Entry, Message
from bus.topics import FEEDBACK, Topics
from bus.wire import decode
from device.plan import PlanArm

ALONE = "end/none"
"""What people call the arm that sends nothing."""
_NOTHING = "none"
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """T frames of one device under one policy, in their order.

    Attributes:
        device, type, policy: who. model: hash of its network; empty where nobody says.
        labels: of K arms.
        cuts: of each of them, (K,).
        arm: what was played, (T,).
        propensity: how likely that was, (T,); 0 where nobody can tell.
        cost_ms: capture to answer, (T,).
        device_ms: head and encoding, (T,). link_ms: between device and edge worker. edge_ms: there.
        sent_bytes: payload, (T,).
        deadline_ms: by which a frame is answered, with whatever there is then.
        answered: by an edge worker, so that `link_ms` and `edge_ms` are known, (T,).
    """

    device: str
    type: str
    policy: str
    labels: tuple[str, ...]
    cuts: Integers
    arm: Integers
    propensity: Floats
    cost_ms: Floats
    device_ms: Floats
    link_ms: Floats
    edge_ms: Floats
    sent_bytes: Floats
    deadline_ms: float
    answered: npt.NDArray[np.bool_]
    model: str = ""

    def __len__(self) -> int:
        return len(self.arm)

    @property
    def explored(self) -> bool:
        """Whether it is known of every frame how likely its arm was."""
        return bool(len(self)) and bool((self.propensity > 0.0).all())

    def index(self, label: str) -> int | None:
        """Return the number of an arm, None if it was never played."""
        return self.labels.index(label) if label in self.labels else None


@dataclass(slots=True)
class Frames:
    """Feedback of a recording, by device and policy.

    Attributes:
        said: of each, in the order of arrival, one a frame.
        turns: of each device, whatever the policy, in the order of arrival.
        unreadable: messages on their topic that are none.
    """

    said: dict[tuple[str, str], dict[int, Feedback]] = field(default_factory=dict)
    turns: dict[str, list[Feedback]] = field(default_factory=dict)
    unreadable: int = 0

    def take(self, entries: Iterable[Entry], prefix: str) -> None:
        """Read entries; a frame that is told twice counts once."""
        topics = Topics(prefix)
        for entry in entries:
            address = topics.parse(entry.topic) if isinstance(entry, Message) else None
            if address is None or address.topic != FEEDBACK:
                continue
            assert isinstance(entry, Message)
            try:
                said = decode(FEEDBACK, entry.payload, Feedback)
            except RemoteProtocolError:
                self.unreadable += 1
                continue
            frames = self.said.setdefault((said.device, said.policy), {})
            if said.seq not in frames:
                frames[said.seq] = said
                self.turns.setdefault(said.device, []).append(said)

    def logs(self) -> list[Log]:
        """Return them as arrays, by device and policy."""
        return [_log(list(frames.values())) for _, frames in sorted(self.said.items())]

    def log_of(self, device: str) -> Log:
        """Return all turns of a device as one log, for what its link and stages take."""
        return _log(self.turns[device])


def _label(said: Feedback) -> str:
    return ALONE if said.codec == _NOTHING else PlanArm(said.cut, said.codec).label


def _log(frames: list[Feedback]) -> Log:
    labels = dict.fromkeys(map(_label, frames))
    numbers = {label: number for number, label in enumerate(labels)}
    cuts = {_label(said): said.cut for said in frames}

    def column(values: Iterable[float]) -> Floats:
        return np.fromiter(values, np.float64, len(frames))

    first = frames[0]
    return Log(
        device=first.device,
        type=first.type,
        policy=first.policy,
        labels=tuple(labels),
        cuts=np.array([cuts[label] for label in labels], np.int64),
        arm=np.array([numbers[_label(said)] for said in frames], np.int64),
        propensity=column(said.propensity for said in frames),
        cost_ms=column(said.total_ms for said in frames),
        device_ms=column(said.head_ms + said.encode_ms + said.wait_ms for said in frames),
        link_ms=column(said.link_ms for said in frames),
        edge_ms=column(said.queue_ms + said.decode_ms + said.tail_ms + said.reply_ms for said in frames),
        sent_bytes=column(said.sent_bytes for said in frames),
        deadline_ms=max(said.deadline_ms for said in frames),
        answered=np.array([said.answered_by == "edge" for said in frames]),
        model=first.model,
    )
