"""A sender that no schema can hold: bad messages made from real ones, and a flood of them at a role's pace.

What is wrong with each message is said by the metrics that must count it, so that the flood can wait until
all of a batch were counted before the next one goes. Nothing here is retained: the broker forgets it too.
"""

import asyncio
import contextlib
import json
import math
import random
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import msgspec

from bus.address import BrokerAddress
from bus.connection import Connection, Delivery, Endpoint
from bus.mqtt import open_connection
from bus.tensors import Payload
from bus.topics import ACK, GROUPS, INFER, KIB, METRICS, MIB, REPLY, STATE, STATS, Form, Role, Topic, Topics

SENDER = "mallory"
FAULTS_OF: dict[Topic, Role] = {
    INFER: Role.EDGE,
    STATS: Role.AGGREGATOR,
    REPLY: Role.DEVICE,
    ACK: Role.DEVICE,
    GROUPS: Role.DEVICE,
    STATE: Role.DEVICE,
}
# Different payloads of a kind; more than the requests that an edge worker remembers of one device.
_POOL = 500
# Above C's limit of 1000 in CPython, and within 4 KiB also where each level has two brackets.
_DEPTH = 1500
_FOREIGN = "f0" * 8
# A batch fits a socket's buffer, so that the broker has no reason to drop what a busy reader leaves.
_BATCH, _BATCH_BYTES = 1500, MIB
_COUNTED_S = 20.0
_HEARD_S = 60.0
# 10,000 payloads over 8 MiB, 1 MiB or 64 KiB are 78, 10 or 0.6 GiB through a broker and two sockets: minutes.
# Each is refused by its size alone, before it is looked at, so a few show what many would, and one that was
# kept would be seen at once. Where the limit is 4 KiB there are as many as of any other kind.
_MOST_OVERSIZED = {INFER: 4, REPLY: 20, STATS: 500, GROUPS: 250}

Fields = dict[str, Any]
Real = dict[Topic, bytes]
Counts = dict[str, float]


@dataclass(frozen=True, slots=True)
class Bad:
    """One kind of bad message on one topic.

    Attributes:
        topic: where it goes.
        payloads: sent in turns.
        counted: the leaves of the reader's metrics, one of which counts each message.
    """

    kind: str
    row: Topic
    topic: str
    payloads: tuple[bytes, ...]
    counted: tuple[str, ...]

    @property
    def role(self) -> Role:
        """Who has to bear it."""
        return FAULTS_OF[self.row]


# ---- the messages --------------------------------------------------------------------------------------


def bad_messages(real: Real) -> list[Bad]:
    """Return every kind of bad message for every role.

    Args:
        real: one message of each topic, as `overhear` returns them.
    """
    return [bad for row, payload in real.items() for bad in _bad_of(row, payload, _target(row, real))]


def _target(row: Topic, real: Real) -> str:
    """The device's own topics, and for what devices send, those of a device that does not exist."""
    fields = {
        INFER: {"edge": "edge-1", "device": SENDER},
        STATS: {"type": "pi4", "device": SENDER},
        REPLY: {"device": "cam-1"},
        ACK: {"type": "pi4", "device": "cam-1"},
        GROUPS: {"type": "pi4", "model": str(_fields(GROUPS, real[GROUPS])["model"])},
        STATE: {"role": "edge", "id": SENDER},
    }
    return Topics().of(row, **fields[row])


def _bad_of(row: Topic, payload: bytes, topic: str) -> Iterator[Bad]:
    draw = random.Random(row.name)
    for kind, made in _BYTES.items():
        payloads = tuple(made(row, payload, draw) for _ in range(1 if kind == "oversized" else _POOL))
        yield Bad(kind, row, topic, payloads, (f"fault_{_FAULT.get(kind, 'malformed')}",))
    for kind, (wrong, counted) in _WRONG[row].items():
        fields = _fields(row, payload) | _HONEST.get(row, {})
        payloads = tuple(_encode(row, fields | wrong(fields, number)) for number in range(_POOL))
        yield Bad(kind, row, topic, payloads, counted)


def _fields(row: Topic, payload: bytes) -> Fields:
    codec = msgspec.msgpack if row.form is Form.MSGPACK else msgspec.json
    fields: Fields = codec.decode(payload)
    return fields


def _encode(row: Topic, fields: Fields) -> bytes:
    return msgspec.msgpack.encode(fields) if row.form is Form.MSGPACK else msgspec.json.encode(fields)


def _random(row: Topic, payload: bytes, draw: random.Random) -> bytes:
    return draw.randbytes(draw.randrange(1, 200))


def _truncated(row: Topic, payload: bytes, draw: random.Random) -> bytes:
    """No empty one: that is how a retained state is deleted."""
    return payload[: draw.randrange(1, min(len(payload), KIB))]


def _oversized(row: Topic, payload: bytes, draw: random.Random) -> bytes:
    return bytes(row.limit_bytes + 1)


def _unknown(row: Topic, payload: bytes, draw: random.Random) -> bytes:
    return _encode(row, {"kind": f"future-{draw.randrange(100)}", "v": 1, "id": "1-1"})


def _nested(row: Topic, payload: bytes, draw: random.Random) -> bytes:
    """A real message with a field more, which a reader has to skip."""
    depth = _DEPTH + draw.randrange(50)
    deep = b"\x91" * depth + b"\x01" if row.form is Form.MSGPACK else b"[" * depth + b"]" * depth
    return _encode(row, _fields(row, payload) | {"payload": b"", "more": msgspec.Raw(deep)})


_BYTES: dict[str, Callable[[Topic, bytes, random.Random], bytes]] = {
    "random": _random,
    "truncated": _truncated,
    "oversized": _oversized,
    "unknown kind": _unknown,
    "nested": _nested,
}
_FAULT = {"oversized": "too_large", "unknown kind": "unknown_kind"}

# What is right with the messages of the sender, beside what is wrong: nothing of a real device's is touched.
_HONEST: dict[Topic, Fields] = {
    INFER: {"device": SENDER, "payload": bytes(64), "budget_ms": 1000.0},
    STATS: {"device": SENDER, "install": _FOREIGN, "boot": 1},
}


def _changed(**wrong: Any) -> Callable[[Fields, int], Fields]:
    return lambda _, number: {"seq": number, **wrong}


def _request(**wrong: Any) -> Callable[[Fields, int], Fields]:
    """Each with an id of its own: a repeated one would be ignored as a double."""
    return lambda _, number: {"id": f"bad-{number}", **wrong}


def _plain(**wrong: Any) -> Callable[[Fields, int], Fields]:
    return lambda _, __: wrong


def _short(name: str) -> Callable[[Fields, int], Fields]:
    """A tensor without its last element."""
    return lambda fields, number: {name: fields[name][:-8]}


def _nan(name: str) -> Callable[[Fields, int], Fields]:
    """A tensor whose last element is NaN."""
    nan = msgspec.msgpack.encode(math.nan)[:0:-1]  # big endian after its type on the wire
    return lambda fields, number: {name: fields[name][:-8] + nan}


_NAN = math.nan
_Wrong = dict[str, tuple[Callable[[Fields, int], Fields], tuple[str, ...]]]
_WRONG: dict[Topic, _Wrong] = {
    INFER: {
        # It waits for a worker, where a newer one of its device may take its place.
        "tensor": (
            _request(dtype="float64", shape=(3,)),
            ("fault_tensor", "rejected_overloaded", "rejected_expired"),
        ),
        "foreign": (_request(model=_FOREIGN), ("fault_foreign",)),
        "nan": (_request(budget_ms=_NAN), ("fault_malformed",)),
        "impostor": (_request(device="cam-1"), ("fault_wrong_sender",)),
    },
    STATS: {
        "tensor": (_short("gram"), ("fault_tensor",)),
        # Another model is another group, which is no fault, until there are as many as are held.
        "foreign": (
            lambda _, number: {"model": f"{number:016x}"},
            ("merged", "duplicates", "refused_overloaded"),
        ),
        "nan": (_nan("moment"), ("fault_not_finite",)),
        "impostor": (_plain(device="cam-1"), ("fault_wrong_sender",)),
    },
    REPLY: {
        "tensor": (_plain(dtype="float64", shape=(3,)), ("fault_tensor",)),
        # A reply names no model; what answers nothing that was asked is counted as late.
        "foreign": (lambda _, number: {"id": f"bad-{number}"}, ("late_replies",)),
        "nan": (_plain(confidence=_NAN), ("fault_malformed",)),
        "impostor": (_plain(edge=SENDER), ("late_replies",)),
    },
    ACK: {
        "tensor": (_plain(version=[1, 2]), ("fault_malformed",)),
        "foreign": (_plain(model=_FOREIGN), ("fault_foreign",)),
        "nan": (_plain(version=_NAN), ("fault_malformed",)),
        "impostor": (_plain(device=SENDER), ("fault_wrong_sender",)),
    },
    GROUPS: {
        "tensor": (_short("moment"), ("fault_tensor",)),
        "foreign": (_plain(model=_FOREIGN), ("fault_foreign",)),
        "nan": (_nan("moment"), ("fault_not_finite",)),
        # It names no sender, but whose columns it holds.
        "impostor": (_plain(schema=_FOREIGN), ("fault_foreign",)),
    },
    STATE: {
        "tensor": (_plain(load="much"), ("fault_malformed",)),
        # No "foreign": an edge worker that serves other models is welcome, and not remembered.
        "nan": (_plain(load=msgspec.Raw(b"NaN")), ("fault_malformed",)),
        "impostor": (_plain(state="lost"), ("fault_wrong_sender",)),
    },
}


def shares(bad: list[Bad], role: Role, many: int) -> Iterator[tuple[Bad, int]]:
    """Yield each kind for a role with how many to send: `many` of a kind, spread over the role's topics."""
    mine = [each for each in bad if each.role is role]
    for kind in dict.fromkeys(each.kind for each in mine):
        topics = [each for each in mine if each.kind == kind]
        most = _MOST_OVERSIZED if kind == "oversized" else {}
        scarce = {each.row: min(most[each.row], many // len(topics)) for each in topics if each.row in most}
        others = max(1, len(topics) - len(scarce))
        for each in topics:
            yield each, scarce.get(each.row, (many - sum(scarce.values())) // others)


# ---- on the bus ----------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _connected(port: int, name: str, *filters: str) -> AsyncIterator[Connection]:
    endpoint = Endpoint(f"{SENDER}:{name}", subscriptions=tuple((each, 0) for each in filters))
    async with open_connection(BrokerAddress("127.0.0.1", port), endpoint) as connection:
        yield connection


async def overhear(port: int) -> Real:
    """Return a real message of each topic, once all of them were heard."""
    heard: Real = {}
    filters = [Topics().filter(row) for row in FAULTS_OF if row is not STATE]
    states = Topics().filter(STATE, role="edge")
    async with asyncio.timeout(_HEARD_S), _connected(port, "ears", *filters, states) as connection:
        async for event in connection.events():
            address = Topics().parse(event.topic) if isinstance(event, Delivery) else None
            if isinstance(event, Delivery) and address is not None and _fit(address.topic, event.payload):
                heard.setdefault(address.topic, bytes(event.payload))
            if heard.keys() == FAULTS_OF.keys():
                break
    return heard


def _fit(row: Topic, payload: Payload) -> bool:
    """Not a rejection, and no state of an edge worker that is not ready."""
    fields = _fields(row, bytes(payload))
    return not (fields["kind"] in {"rejection", "refused"} or fields.get("state", "ready") != "ready")


class _Meters:
    """The latest metrics of each role."""

    def __init__(self) -> None:
        self._latest: dict[Role, Counts] = {}
        self._news = asyncio.Condition()

    async def read(self, connection: Connection) -> None:
        async for event in connection.events():
            address = Topics().parse(event.topic) if isinstance(event, Delivery) else None
            if isinstance(event, Delivery) and address is not None:
                async with self._news:
                    self._latest[Role(address.fields["role"])] = json.loads(bytes(event.payload))
                    self._news.notify_all()

    async def when(self, role: Role, condition: Callable[[Counts], bool]) -> Counts:
        """Return a role's metrics once they are so."""
        async with self._news:
            await self._news.wait_for(lambda: role in self._latest and condition(self._latest[role]))
            return self._latest[role]


@dataclass(frozen=True, slots=True)
class Flood:
    """What became of a flood at one role.

    Attributes:
        sent: messages by the leaves that count them.
        before, after: its metrics.
    """

    sent: dict[tuple[str, ...], int]
    before: Counts
    after: Counts

    @property
    def dropped(self) -> float:
        """Messages that the overflow policy dropped unread."""
        return self.grown("deliveries_dropped")

    def grown(self, *leaves: str) -> float:
        """By how much these have grown together."""
        return sum(self.after[leaf] - self.before[leaf] for leaf in leaves)


async def flood(port: int, bad: list[Bad], many: int) -> dict[Role, Flood]:
    """Send `many` of each kind to each role, all roles at once, each batch when the last was counted.

    Raises:
        AssertionError: if a message was neither counted as what it is nor as dropped.
    """
    meters = _Meters()
    async with _connected(port, "meters", Topics().filter(METRICS)) as ears, asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(meters.read(ears), name="metrics")
        async with asyncio.TaskGroup() as floods:
            made = {
                role: floods.create_task(_flood_one(port, meters, bad, role, many), name=f"flood {role}")
                for role in dict.fromkeys(FAULTS_OF.values())
            }
        reader.cancel()
    return {role: task.result() for role, task in made.items()}


async def _flood_one(port: int, meters: _Meters, bad: list[Bad], role: Role, many: int) -> Flood:
    sent: dict[tuple[str, ...], int] = {}
    before = after = await meters.when(role, lambda _: True)
    async with _connected(port, role.value) as connection:
        for each, share in shares(bad, role, many):
            sent[each.counted] = sent.get(each.counted, 0) + share
            payloads = islice(cycle(each.payloads), share)
            while batch := list(islice(payloads, _batch_of(each))):
                for payload in batch:
                    await connection.publish(each.topic, payload)
                after = await _counted(meters, each, len(batch), after)
    return Flood(sent, before, after)


def _batch_of(bad: Bad) -> int:
    return min(_BATCH, 1 + _BATCH_BYTES // max(map(len, bad.payloads)))


async def _counted(meters: _Meters, bad: Bad, many: int, before: Counts) -> Counts:
    """Wait until all of a batch were counted, as what they are or as dropped."""
    leaves = (*bad.counted, "deliveries_dropped")
    wanted = sum(before[leaf] for leaf in leaves) + many
    try:
        async with asyncio.timeout(_COUNTED_S):
            return await meters.when(bad.role, lambda now: sum(now[leaf] for leaf in leaves) >= wanted)
    except TimeoutError:
        now = await meters.when(bad.role, lambda _: True)
        missing = wanted - sum(now[leaf] for leaf in leaves)
        grown = {leaf: now[leaf] - before[leaf] for leaf in now if now[leaf] != before[leaf]}
        raise AssertionError(
            f"{missing} of {many} {bad.kind!r} on {bad.topic} counted nowhere; {grown}"
        ) from None


async def retained(port: int, topic: str) -> Fields:
    """Return what the broker keeps on a topic of msgpack."""
    async with asyncio.timeout(_COUNTED_S), _connected(port, "eyes", topic) as connection:
        async for event in connection.events():
            if isinstance(event, Delivery) and event.retained:
                fields: Fields = msgspec.msgpack.decode(bytes(event.payload))
                return fields
    raise AssertionError("the connection was closed before anything came")
