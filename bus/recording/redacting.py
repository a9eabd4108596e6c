"""Recorded messages without what is somebody's: pictures, answers, names and sentences.

What stays is named here, field by field: types, choices, times, sizes and counts. A field that a later
version adds is taken out until somebody names it. Ids and hashes become numbers, the same ones all along, so
that who asked and who answered still fit together.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from bus import messages as m
from bus.connection import Properties
from bus.errors import LocalProtocolError, RemoteProtocolError
from bus.recording.entries import Message
from bus.topics import DEFAULT_PREFIX, METRICS, Address, Topics
from bus.wire import decode, encode, encode_metrics

# Numbers and words of ours, that say nothing of what was seen, nor where.
_STAYS = frozenset({
    "v", "type", "role", "state", "boot", "seq", "phase", "count", "members", "parked", "sent", "link",
    "dimension", "cut", "codec", "dtype", "shape", "policy", "arm", "answered_by", "deadline_met", "emulated",
    "sent_bytes", "propensity", "load", "jobs", "speed", "batch", "common",
    "link_mbit_per_s", "link_low_mbit_per_s", "link_high_mbit_per_s",
})  # fmt: skip
_TIMES = re.compile(r"[a-z_]+_ms")
_IDS = frozenset({"device", "edge", "id"})
_HASHES = frozenset({"model", "schema", "install", "origin"})
_REQUESTS = "request"
# Words of a fixed set, and of a person's only where a device is another program.
_REASON = re.compile(r"[a-z0-9_ -]{0,32}")
# A request's id, as devices make it: install, boot, number.
_REQUEST = re.compile(r"([0-9a-f]{16})(-[0-9]+-[0-9]+)")


@dataclass(slots=True)
class Redactor:
    """Redacts the messages of one recording.

    Attributes:
        prefix: of the site that was recorded.
        left_out: messages that are no longer there, by why.
        texts: every text that is left, by field.
    """

    prefix: str
    left_out: dict[str, int] = field(default_factory=dict)
    texts: dict[str, set[str]] = field(default_factory=dict)
    _ids: dict[tuple[str, str], str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)
    _hashes: dict[str, str] = field(default_factory=dict)

    def about(self, about: Mapping[str, str]) -> dict[str, str]:
        """Return what the new file says of its origin."""
        kept = {name: about[name] for name in ("version", "began") if name in about}
        return kept | {"prefix": DEFAULT_PREFIX, "redacted": "names, pictures, answers and sentences"}

    def message(self, message: Message) -> Message | None:
        """Return what is left of a message; None where nothing may be."""
        address = Topics(self.prefix).parse(message.topic)
        if address is None:
            self._leave_out("on a topic that is not in the table")
            return None
        try:
            topic, payload = self._topic(address), self._payload(address, message.payload)
        except (RemoteProtocolError, LocalProtocolError, ValueError):
            self._leave_out("that cannot be read")
            return None
        return replace(message, topic=topic, payload=payload, properties=self._properties(message.properties))

    def _leave_out(self, why: str) -> None:
        self.left_out[why] = self.left_out.get(why, 0) + 1

    def _topic(self, address: Address) -> str:
        fields = {name: self._level(name, level, address.fields) for name, level in address.fields.items()}
        return Topics().of(address.topic, **fields)

    def _level(self, name: str, level: str, fields: Mapping[str, str]) -> str:
        if name == "model":
            return self._hash(level)
        if name == "id":
            return self._id(fields.get("role", "node"), level)
        if name in _IDS:
            return self._id(name, level)
        self._seen(name, level)
        return level

    def _payload(self, address: Address, payload: bytes) -> bytes:
        if not payload:
            return b""
        if address.topic == METRICS:
            said = msgspec.json.decode(payload, type=dict[str, Any])
            return encode_metrics({key: each for key, each in said.items() if isinstance(each, int | float)})
        message = decode(address.topic, payload)
        role = message.role if isinstance(message, m.State) else ""
        left = {
            each.name: self._field(each, getattr(message, each.name), role)
            for each in msgspec.structs.fields(type(message))
        }
        return encode(address.topic, msgspec.structs.replace(message, **left))

    def _field(self, known: msgspec.structs.FieldInfo, value: Any, role: str) -> Any:  # noqa: ANN401 - whatever it holds
        """Return what a field may hold."""
        name = known.name
        if _stays(name, value):
            return self._seen(name, value)
        if name in _HASHES:
            found: Any = self._hash(value)
        elif name == "models":
            found = ",".join(map(self._hash, filter(None, value.split(","))))
        elif name == "group":  # named as a type is
            found = self._seen("type", value)
        elif name == "id" and not role:
            found = self._request(value)
        elif name in _IDS:
            found = self._id(role or name, value)
        elif known.required:
            found = memoryview(b"") if isinstance(value, memoryview) else type(value)()
        else:
            found = known.default
        return found

    def _seen(self, name: str, value: Any) -> Any:  # noqa: ANN401 - as above
        if isinstance(value, str) and value:
            self.texts.setdefault(name, set()).add(value)
        return value

    def _id(self, kind: str, value: str) -> str:
        given = self._ids.get((kind, value))
        if given is None:
            number = self._counts[kind] = self._counts.get(kind, 0) + 1
            given = self._ids[kind, value] = f"{kind}-{number}"
        if kind != _REQUESTS:
            self._seen(kind, given)
        return given

    def _request(self, value: str) -> str:
        found = _REQUEST.fullmatch(value)
        return self._id(_REQUESTS, value) if found is None else self._hash(found[1]) + found[2]

    def _hash(self, value: str) -> str:
        return self._hashes.setdefault(value, f"{len(self._hashes) + 1:016x}")

    def _properties(self, said: Properties | None) -> Properties | None:
        if said is None:
            return None
        address = Topics(self.prefix).parse(said.response_topic or "")
        topic = None if address is None else self._topic(address)
        return Properties(topic, None, said.content_type, said.expiry_s, ())


def _stays(name: str, value: Any) -> bool:  # noqa: ANN401 - as above
    """Whether a field is kept as it is."""
    if name == "version":  # a number of a group's, or the words of whoever built the software
        return isinstance(value, int)
    return bool(name in _STAYS or _TIMES.fullmatch(name) or (name == "reason" and _REASON.fullmatch(value)))
