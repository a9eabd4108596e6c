"""The one topic table.

Everything that depends on topics (the ACL, the limits, the documents, the filters of every role)
is made from `TABLE`; a test holds the documents against it. This file must never name a transport.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from bus.errors import ConfigurationError, LocalProtocolError
from bus.names import is_name

DEFAULT_PREFIX = "cans/v1"
NOBODY = "doctor-probe-"
"""How the names begin under which `cans doctor bus` tries whether it may speak: no node is called so."""
KIB = 1024
MIB = 1024 * KIB


class Role(StrEnum):
    """Who takes part."""

    DEVICE = "device"
    EDGE = "edge"
    AGGREGATOR = "aggregator"
    WATCHER = "watcher"  # dashboards, `cans watch`: may read feedback, groups, states and metrics
    COORDINATOR = "coordinator"  # of a testbed: tells its devices what to play


class Form(StrEnum):
    """How a payload is written."""

    MSGPACK = "msgpack"
    JSON = "json"

    @property
    def content_type(self) -> str:
        """The MQTT 5 content type of this form."""
        return f"application/{self.value}"


@dataclass(frozen=True, slots=True)
class Topic:
    """One row of the table.

    Attributes:
        name: first level after the prefix.
        fields: the levels that follow, in order.
        writers, readers: the roles that may publish and subscribe.
        own: the field that must be the writer's (or reader's) own id, by role; an ACL holds them to it.
        qos: delivery promise of the publish.
        retained: whether the broker keeps the last message for later subscribers.
        form: msgpack or flat JSON.
        limit_bytes: payloads above are refused before the write and before the decode.
        leaf: a last level that is a word, not a field: what is said beside the row of the same name.
    """

    name: str
    fields: tuple[str, ...]
    writers: tuple[Role, ...]
    readers: tuple[Role, ...]
    own: tuple[tuple[Role, str], ...]
    qos: int
    retained: bool
    form: Form
    limit_bytes: int
    leaf: str = ""

    @property
    def template(self) -> str:
        """The topic with its fields named, as in `infer/{edge}/{device}`."""
        return self.path(f"{{{field}}}" for field in self.fields)

    def path(self, levels: Iterable[str]) -> str:
        """The topic below the prefix, with `levels` in the places of its fields."""
        return "/".join((self.name, *levels, *((self.leaf,) if self.leaf else ())))


_ALL = (Role.DEVICE, Role.EDGE, Role.AGGREGATOR)
_EVERYONE = (*_ALL, Role.WATCHER)
_D, _E = (Role.DEVICE, "device"), (Role.EDGE, "edge")

# Sizes: an activation of float32 224x224x64 is 12 MiB and never worth sending; 8 MiB is the broker's
# own max_packet_size less the envelope. Dashboard topics stay within 4 KiB: websockets of mosquitto
# 2.0 stall for 100 ms on every further 4 KiB.
INFER = Topic(
    "infer",
    ("edge", "device"),
    (Role.DEVICE,),
    (Role.EDGE,),
    (_D, _E),
    0,
    False,
    Form.MSGPACK,
    8 * MIB - 4 * KIB,
)
REPLY = Topic("reply", ("device",), (Role.EDGE,), (Role.DEVICE,), (_D,), 0, False, Form.MSGPACK, 1 * MIB)
FEEDBACK = Topic(
    "feedback", ("type", "device"), (Role.DEVICE,), _EVERYONE, (_D,), 0, False, Form.JSON, 4 * KIB
)
STATS = Topic(
    "stats", ("type", "device"), (Role.DEVICE,), (Role.AGGREGATOR,), (_D,), 1, False, Form.MSGPACK, 64 * KIB
)
ACK = Topic(
    "ack", ("type", "device"), (Role.AGGREGATOR,), (Role.DEVICE,), (_D,), 1, False, Form.MSGPACK, 4 * KIB
)
GROUPS = Topic(
    "groups", ("type", "model"), (Role.AGGREGATOR,), _EVERYONE, (), 1, True, Form.MSGPACK, 64 * KIB
)
# Flat JSON for people beside the sums for devices, on a topic of its own: a device never subscribes to it.
WORDS = Topic(
    "groups", ("type", "model"), (Role.AGGREGATOR,), _EVERYONE, (), 1, True, Form.JSON, 4 * KIB, "words"
)
STATE = Topic(
    "state",
    ("role", "id"),
    _ALL,
    _EVERYONE,
    ((Role.DEVICE, "id"), (Role.EDGE, "id"), (Role.AGGREGATOR, "id")),
    1,
    True,
    Form.JSON,
    4 * KIB,
)
METRICS = Topic("metrics", ("role", "id"), _ALL, _EVERYONE, STATE.own, 0, False, Form.JSON, 4 * KIB)

QUEUE = Topic("queue", ("edge",), (Role.EDGE,), _EVERYONE, (_E,), 0, False, Form.JSON, 4 * KIB)

TABLE: tuple[Topic, ...] = (INFER, REPLY, FEEDBACK, STATS, ACK, GROUPS, WORDS, STATE, METRICS, QUEUE)
# What a testbed adds below a prefix of its own: a site that has none has neither, so they are not in `TABLE`.
LAB_ORDER = Topic(
    "lab-order", ("device",), (Role.COORDINATOR,), (Role.DEVICE,), (_D,), 1, False, Form.JSON, 256 * KIB
)
LAB_REPORT = Topic(
    "lab-report", ("device",), (Role.DEVICE,), (Role.COORDINATOR,), (_D,), 1, False, Form.JSON, 1 * MIB
)
LAB_TABLE: tuple[Topic, ...] = (LAB_ORDER, LAB_REPORT)
# The leaf is a level too, so a row and what is said beside it differ in how many levels follow the name.
_BY_LEVELS = {(topic.name, topic.template.count("/")): topic for topic in TABLE}


@dataclass(frozen=True, slots=True)
class Address:
    """A topic taken apart: its row in the table and its fields."""

    topic: Topic
    fields: dict[str, str]


def topics_below(prefix: str) -> "Topics":
    """Return the table under a prefix that a person has given.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        return Topics(prefix)
    except LocalProtocolError as error:
        raise ConfigurationError(f"{error}: give another --prefix") from None


@dataclass(frozen=True, slots=True)
class Topics:
    """The table under one prefix.

    Example:
        >>> Topics().of(INFER, edge="edge-1", device="cam-1")
        'cans/v1/infer/edge-1/cam-1'
    """

    prefix: str = DEFAULT_PREFIX

    def __post_init__(self) -> None:
        if not all(is_name(level) for level in self.prefix.split("/")):
            raise LocalProtocolError(
                f"topic prefix {self.prefix!r} holds an empty level, a wildcard or a capital"
            )

    def of(self, topic: Topic, **fields: str) -> str:
        """Return the full topic with every field given.

        Raises:
            LocalProtocolError: if a field is missing, unknown, or not a name.
        """
        if set(fields) != set(topic.fields):
            raise LocalProtocolError(f"{topic.template} takes the fields {topic.fields}, not {tuple(fields)}")
        for word in fields.values():
            if not is_name(word):
                raise LocalProtocolError(f"{word!r} may not be a level of {topic.template}")
        return f"{self.prefix}/{topic.path(fields[field] for field in topic.fields)}"

    def filter(self, topic: Topic, **fields: str) -> str:
        """Return a topic filter: fields not given become the one-level wildcard."""
        return f"{self.prefix}/{topic.path(fields.get(field, '+') for field in topic.fields)}"

    def parse(self, text: str) -> Address | None:
        """Take a received topic apart; None if it is not one of ours."""
        if not text.startswith(self.prefix + "/"):
            return None
        name, *levels = text[len(self.prefix) + 1 :].split("/")
        topic = _BY_LEVELS.get((name, len(levels)))
        if topic is None or not all(map(is_name, levels)) or (topic.leaf and levels.pop() != topic.leaf):
            return None
        return Address(topic, dict(zip(topic.fields, levels, strict=True)))

    def rows(self) -> Iterator[tuple[Topic, str]]:
        """Yield each row with its template under this prefix."""
        for topic in TABLE:
            yield topic, f"{self.prefix}/{topic.template}"
