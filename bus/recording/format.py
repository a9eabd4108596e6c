"""How entries lie in an MCAP file (https://mcap.dev/spec), and back (ADR 28).

One channel for each (topic, encoding, QoS, retained, content type, response topic): what its messages have in
common is its metadata, so that MCAP's own tools show payloads as they were. What else a message has (MQTT 5)
is a record with the same sequence number on a channel of its own, just before it. MCAP's log time, by which
its index goes, is the steady clock, its publish time the time of day. No topic of a client begins with $cans.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from bus.connection import Properties
from bus.errors import RemoteProtocolError
from bus.recording.entries import Entry, Gap, Message

PROFILE = "cans-mqtt"
"""Of the file's header."""
PROPERTIES, GAPS = "$cans/properties", "$cans/gaps"
"""Topics of the channels that hold no message."""
NUMBERS = 2**32
"""Sequence numbers of MCAP, which begin again."""


class _More(msgspec.Struct, frozen=True, omit_defaults=True):
    """Properties that differ from message to message."""

    correlation_data: bytes | None = None
    expiry_s: int | None = None
    user: tuple[tuple[str, str], ...] = ()


class _Gap(msgspec.Struct, frozen=True):
    kind: str
    lost: int
    seconds: float


_NO_MORE = _More()


def encoding_of(payload: bytes) -> str:
    """Return MCAP's name for what a payload looks like: "json", "msgpack" or "" for neither."""
    first = payload[:1]
    if first == b"{":
        return "json"
    # A map of up to 15 entries, or of more: what every msgpack message of the table is.
    return "msgpack" if first and (0x80 <= first[0] <= 0x8F or first[0] in {0xDE, 0xDF}) else ""


def channel_of(message: Message) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """Return topic, encoding and metadata of the channel that a message lies on."""
    said = message.properties or Properties()
    metadata = {"qos": str(message.qos), "retained": str(int(message.retained))}
    if said.content_type is not None:
        metadata["content_type"] = said.content_type
    if said.response_topic is not None:
        metadata["response_topic"] = said.response_topic
    return message.topic, encoding_of(message.payload), tuple(metadata.items())


def more_of(message: Message) -> bytes:
    """Return the properties that are the message's alone; empty where it has none."""
    said = message.properties or Properties()
    more = _More(said.correlation_data, said.expiry_s, said.user)
    return b"" if more == _NO_MORE else msgspec.msgpack.encode(more)


def gap_data(gap: Gap) -> bytes:
    """Return what lies on the channel of gaps."""
    return msgspec.json.encode(_Gap(gap.kind, gap.lost, gap.seconds))


def entry_of(
    channel: tuple[str, Mapping[str, str]], data: bytes, more: bytes, number: int, times_ns: tuple[int, int]
) -> Entry:
    """Return the entry that a record stands for.

    Args:
        channel: its topic, and what its messages have in common.
        data: of the record.
        more: of the one before it on the channel of properties; empty for none.
        number: as of `Message`.
        times_ns: its `wall_ns` and `steady_ns`.

    Raises:
        RemoteProtocolError: no record that `cans record` would have written.
    """
    topic, metadata = channel
    try:
        if topic == GAPS:
            gap = msgspec.json.decode(data, type=_Gap)
            kind: Any = gap.kind
            return Gap(number, *times_ns, kind, gap.lost, gap.seconds)
        rest = msgspec.msgpack.decode(more, type=_More) if more else _NO_MORE
        qos, retained = int(metadata["qos"]), metadata["retained"] == "1"
    except (KeyError, ValueError) as error:
        raise RemoteProtocolError("malformed", f"message {number} of the recording: {error}") from None
    said = Properties(
        metadata.get("response_topic"),
        rest.correlation_data,
        metadata.get("content_type"),
        rest.expiry_s,
        rest.user,
    )
    properties = None if said == Properties() else said
    return Message(number, *times_ns, topic, data, qos, retained, properties)
