"""What a subscriber knows of a site: nodes, frames, groups, queues, alarms. Pure; it has no clock.

Everything is bounded, and what finds no room is counted: a broker that is open to anyone lets anyone publish.
"""

from collections import deque
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import msgspec

from bus.errors import RemoteProtocolError
from bus.messages import Feedback, GroupWords, QueueNotice, State
from bus.tensors import Payload
from bus.topics import DEFAULT_PREFIX, FEEDBACK, METRICS, QUEUE, STATE, WORDS, Address, Role, topics_below
from bus.wire import decode
from cans.alarms import MOST_NODES, Alarm, Alarms
from cans.listening import require_named

SYS = "$SYS/"
_MOST_TURNS, _MOST_TURNS_EACH, _LEAST_TURNS_EACH = 60_000, 300, 20
_MOST_RECENT, _RECENT_S = 30_000, 60.0
_MOST_NUMBERS, _MOST_SYS, _MOST_SYS_BYTES = 200, 200, 200
_MOST_NOTICES, _MOST_ALARMS = 300, 500
_GAIN = 0.2
# Devices of 0.1.0 say true and false of one of them.
_NUMBERS = msgspec.json.Decoder(dict[str, float | bool])


class Seen(NamedTuple):
    """A frame, and when its feedback came, seconds."""

    at_s: float
    said: Feedback


class Brief(NamedTuple):
    """The same for sums over the whole site."""

    at_s: float
    total_ms: float
    answered_by: str
    met: bool


@dataclass(slots=True)
class Node:
    """What a node has said of itself; None and empty where it has not."""

    state: State | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    heard_s: float = 0.0


@dataclass(slots=True)
class DeviceSeen:
    """What the frames of a device have come to.

    Attributes:
        type: as it says. turns: the latest, of all its policies.
        frames, missed: in all. answered: by whom.
        mean_ms: of the latest, older ones fade.
    """

    type: str
    turns: deque[Seen] = field(default_factory=deque)
    frames: int = 0
    missed: int = 0
    answered: dict[str, int] = field(default_factory=dict)
    mean_ms: float = 0.0

    def add(self, turn: Seen, most: int) -> None:
        """Take in a frame, and let the oldest go beyond so many."""
        said = turn.said
        self.type = said.type
        self.turns.append(turn)
        while len(self.turns) > most:
            self.turns.popleft()
        gain = _GAIN if self.frames else 1.0
        self.mean_ms += gain * (said.total_ms - self.mean_ms)
        self.frames += 1
        self.missed += not said.deadline_met
        self.answered[said.answered_by] = self.answered.get(said.answered_by, 0) + 1


class Told(NamedTuple):
    """An alarm, and when."""

    at_s: float
    alarm: Alarm


class Site:
    """See above.

    Args:
        prefix: of the site's topics.

    Attributes:
        nodes: by role and id. devices: whose frames have come. words: of groups, by type and model.
        notices: of each edge worker's queue, the latest: when, seconds of waiting, jobs.
        recent: frames of the last minute, of all devices. alarms: the latest last.
        broker: what the broker says of itself, by the topic behind $SYS/.
        messages, unreadable, left_out: taken in, not understood, without room.
    """

    def __init__(self, prefix: str = DEFAULT_PREFIX) -> None:
        self.nodes: dict[tuple[str, str], Node] = {}
        self.devices: dict[str, DeviceSeen] = {}
        self.words: dict[tuple[str, str], GroupWords] = {}
        self.notices: dict[str, deque[tuple[float, float, int]]] = {}
        self.recent: deque[Brief] = deque(maxlen=_MOST_RECENT)
        self.alarms: deque[Told] = deque(maxlen=_MOST_ALARMS)
        self.broker: dict[str, str] = {}
        self.messages = self.unreadable = self.left_out = 0
        self._topics = topics_below(prefix)
        self._finder = Alarms()

    def copy(self) -> "Site":
        """Return another that knows the same; messages, which never change, are shared."""
        other = Site(self._topics.prefix)
        other.nodes = {key: replace(node) for key, node in self.nodes.items()}
        other.devices = {
            id_: replace(seen, turns=seen.turns.copy(), answered=dict(seen.answered))
            for id_, seen in self.devices.items()
        }
        other.words, other.broker = dict(self.words), dict(self.broker)
        other.notices = {edge: line.copy() for edge, line in self.notices.items()}
        other.recent, other.alarms = self.recent.copy(), self.alarms.copy()
        other.messages, other.unreadable, other.left_out = self.messages, self.unreadable, self.left_out
        other._finder = deepcopy(self._finder)
        return other

    def take(self, topic: str, payload: Payload, now: float) -> None:
        """Take in one message; what is none of ours is skipped."""
        if topic.startswith(SYS):
            self._on_broker(topic.removeprefix(SYS), payload)
            return
        address = self._topics.parse(topic)
        if address is None:
            return
        self.messages += 1
        try:
            self._take(address, payload, now)
        except (RemoteProtocolError, msgspec.DecodeError, ValueError):
            self.unreadable += 1

    def settle(self, now: float) -> None:
        """Let frames of more than a minute ago go out of the sums."""
        while self.recent and self.recent[0].at_s < now - _RECENT_S:
            self.recent.popleft()

    def of_role(self, role: str) -> Iterator[tuple[str, Node]]:
        """Yield the nodes of a role, by name."""
        for (its, id_), node in sorted(self.nodes.items()):
            if its == role:
                yield id_, node

    def _take(self, address: Address, payload: Payload, now: float) -> None:
        fields = address.fields
        if address.topic is STATE:
            self._on_state(fields["role"], fields["id"], payload, now)
        elif address.topic is METRICS:
            if len(payload) > METRICS.limit_bytes:
                raise ValueError("longer than metrics are")
            node = self._node(fields["role"], fields["id"], now)
            if node is not None and len(payload):
                numbers = list(_NUMBERS.decode(bytes(payload).strip()).items())[:_MOST_NUMBERS]
                node.numbers = {key: float(value) for key, value in numbers}
        elif address.topic is QUEUE:
            told = decode(QUEUE, payload, QueueNotice)
            require_named(address, edge=told.edge)
            self._on_queue(told, now)
        elif address.topic is WORDS:
            self._on_words((fields["type"], fields["model"]), payload)
        elif address.topic is FEEDBACK:
            said = decode(FEEDBACK, payload, Feedback)
            require_named(address, type=said.type, device=said.device)
            self._on_feedback(said, now)

    def _node(self, role: str, id_: str, now: float) -> Node | None:
        node = self.nodes.get((role, id_))
        if node is None:
            if len(self.nodes) >= MOST_NODES:
                self.left_out += 1
                return None
            node = self.nodes[role, id_] = Node()
        node.heard_s = now
        return node

    def _on_state(self, role: str, id_: str, payload: Payload, now: float) -> None:
        if not len(payload):  # somebody has removed it
            self.nodes.pop((role, id_), None)
            self._finder.forget(role, id_)
            return
        said = decode(STATE, payload, State)
        if (said.role, said.id) != (role, id_):
            self.unreadable += 1
            return
        node = self._node(role, id_, now)
        if node is not None:
            node.state = said
            self._sound(self._finder.state(said), now)

    def _on_queue(self, said: QueueNotice, now: float) -> None:
        if said.edge not in self.notices and len(self.notices) >= MOST_NODES:
            self.left_out += 1
            return
        line = self.notices.setdefault(said.edge, deque(maxlen=_MOST_NOTICES))
        line.append((now, said.free_ms / 1e3, said.jobs))

    def _on_words(self, key: tuple[str, str], payload: Payload) -> None:
        if not len(payload):
            self.words.pop(key, None)
        elif key in self.words or len(self.words) < MOST_NODES:
            self.words[key] = decode(WORDS, payload, GroupWords)
        else:
            self.left_out += 1

    def _on_feedback(self, said: Feedback, now: float) -> None:
        device = self.devices.get(said.device)
        if device is None:
            if len(self.devices) >= MOST_NODES:
                self.left_out += 1
                return
            device = self.devices[said.device] = DeviceSeen(said.type)
        most = max(_LEAST_TURNS_EACH, min(_MOST_TURNS_EACH, _MOST_TURNS // len(self.devices)))
        device.add(Seen(now, said), most)
        self.recent.append(Brief(now, said.total_ms, said.answered_by, said.deadline_met))
        self._sound(self._finder.feedback(said), now)

    def _on_broker(self, name: str, payload: Payload) -> None:
        if name in self.broker or len(self.broker) < _MOST_SYS:
            self.broker[name] = bytes(payload[:_MOST_SYS_BYTES]).decode("utf-8", "replace")

    def _sound(self, alarms: list[Alarm], now: float) -> None:
        self.alarms.extend(Told(now, alarm) for alarm in alarms)


def is_there(node: Node) -> bool:
    """Whether a node says that it is there."""
    return node.state is not None and node.state.state in {"init", "ready", "sleeping"}


def latest(device: DeviceSeen) -> Seen | None:
    """Return its latest frame."""
    return device.turns[-1] if device.turns else None


ROLES = (Role.DEVICE, Role.EDGE, Role.AGGREGATOR)
