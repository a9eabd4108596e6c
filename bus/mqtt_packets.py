"""PUBLISH packets to and from bytes, without copying their payload.

The MQTT library copies a payload six times on its way in and three on its way out, and builds a table of
all properties for each packet; for an activation of 1 MB that is more than the broker costs. So PUBLISH,
and only PUBLISH, is written and read here (MQTT 5, sections 3.3 and 2.2.2; MQTT 3.1.1, section 3.3).
This file must never touch a socket or the MQTT library.
"""

import struct
from typing import NamedTuple

from bus.connection import Properties

PUBLISH = 0x30
# Longest remaining length, section 1.5.5.
MAX_REMAINING_BYTES = 268_435_455

_CONTENT_TYPE, _RESPONSE_TOPIC, _CORRELATION_DATA = 0x03, 0x08, 0x09
_MESSAGE_EXPIRY, _USER_PROPERTY = 0x02, 0x26
# Properties that a PUBLISH may hold and that mean nothing here: identifier -> bytes, 0 for a varint.
_SKIPPED = {0x01: 1, 0x23: 2, 0x0B: 0}
_ENOUGH_BYTES = 4


class PacketError(ValueError):
    """The broker sent something that is not MQTT; the connection cannot go on."""


class Publish(NamedTuple):
    """A PUBLISH received; `payload` is a view of the packet's bytes."""

    topic: str
    qos: int
    retained: bool
    packet_id: int
    payload: memoryview
    properties: Properties | None


def varint(value: int) -> bytes:
    """Return a variable byte integer (section 1.5.5)."""
    encoded = bytearray()
    while True:
        value, low = divmod(value, 128)
        encoded.append(low | 0x80 if value else low)
        if not value:
            return bytes(encoded)


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("!H", len(raw)) + raw


def pack_properties(properties: Properties | None) -> bytes:
    """Return the property section of a PUBLISH, its length included."""
    if properties is None:
        return b"\x00"
    parts: list[bytes] = []
    if properties.expiry_s is not None:
        parts.append(struct.pack("!BI", _MESSAGE_EXPIRY, properties.expiry_s))
    if properties.content_type is not None:
        parts.append(bytes([_CONTENT_TYPE]) + _text(properties.content_type))
    if properties.response_topic is not None:
        parts.append(bytes([_RESPONSE_TOPIC]) + _text(properties.response_topic))
    if properties.correlation_data is not None:
        raw = properties.correlation_data
        parts.append(struct.pack("!BH", _CORRELATION_DATA, len(raw)) + raw)
    for name, value in properties.user:
        parts.append(bytes([_USER_PROPERTY]) + _text(name) + _text(value))
    packed = b"".join(parts)
    return varint(len(packed)) + packed


class PackedProperties:
    """What the MQTT library takes for properties: it asks for nothing but `pack()`."""

    def __init__(self, properties: Properties | None) -> None:
        self._packed = pack_properties(properties)

    def pack(self) -> bytes:
        """Return the property section."""
        return self._packed


def publish_head(topic: str, payload_bytes: int, *, retain: bool, protocol: int, properties: bytes) -> bytes:
    """Return what stands before the payload of a QoS 0 PUBLISH.

    Args:
        topic: without wildcards.
        payload_bytes: size of the payload that follows.
        retain: whether the broker keeps it.
        protocol: 5, or 4 for MQTT 3.1.1, which has no properties.
        properties: the packed property section; left out on 4.
    """
    variable = _text(topic) + (properties if protocol == 5 else b"")
    return bytes([PUBLISH | retain]) + varint(len(variable) + payload_bytes) + variable


def packet_bytes(topic: str, payload_bytes: int, *, qos: int, properties: bytes) -> int:
    """Return the size of a whole PUBLISH, which the broker's MaximumPacketSize limits."""
    remaining = 2 + len(topic.encode()) + (2 if qos else 0) + len(properties) + payload_bytes
    return 1 + len(varint(remaining)) + remaining


class _Reader:
    """Reads fields from a packet; running past its end is a `PacketError`."""

    def __init__(self, packet: memoryview) -> None:
        self._packet = packet
        self.at = 0

    def take(self, size: int) -> memoryview:
        end = self.at + size
        if end > len(self._packet):
            raise PacketError("a PUBLISH ends in the middle of a field")
        self.at, start = end, self.at
        return self._packet[start:end]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def binary(self) -> bytes:
        return bytes(self.take(self.number(2)))

    def text(self) -> str:
        try:
            return self.binary().decode()
        except UnicodeDecodeError:
            raise PacketError("a PUBLISH holds text that is not UTF-8") from None

    def varint(self) -> int:
        value = 0
        for place in range(_ENOUGH_BYTES):
            byte = self.number(1)
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                return value
        raise PacketError("a PUBLISH holds a number of more than four bytes")


def read_publish(first_byte: int, packet: bytearray, protocol: int) -> Publish:
    """Take a PUBLISH apart.

    Args:
        first_byte: of the fixed header.
        packet: all that follows the fixed header; the result's payload is a view of it.
        protocol: 5 or 4.

    Raises:
        PacketError: if it is malformed.
    """
    whole = memoryview(packet)
    reader = _Reader(whole)
    topic = reader.text()
    qos = (first_byte >> 1) & 3
    packet_id = reader.number(2) if qos else 0
    properties = _read_properties(reader) if protocol == 5 else None
    return Publish(topic, qos, bool(first_byte & 1), packet_id, whole[reader.at :], properties)


def _read_properties(reader: _Reader) -> Properties | None:
    size = reader.varint()
    if size == 0:
        return None
    reader = _Reader(reader.take(size))
    known: dict[int, str | bytes | int] = {}
    user: list[tuple[str, str]] = []
    while reader.at < size:
        match reader.number(1):
            case 0x26:
                user.append((reader.text(), reader.text()))
            case 0x02:
                known[_MESSAGE_EXPIRY] = reader.number(4)
            case 0x09:
                known[_CORRELATION_DATA] = reader.binary()
            case 0x03 | 0x08 as identifier:
                known[identifier] = reader.text()
            case identifier if identifier in _SKIPPED:
                _skip(reader, _SKIPPED[identifier])
            case identifier:
                raise PacketError(f"a PUBLISH holds the unknown property 0x{identifier:02x}")
    return Properties(
        response_topic=known.get(_RESPONSE_TOPIC),  # type: ignore[arg-type] # read as text above
        correlation_data=known.get(_CORRELATION_DATA),  # type: ignore[arg-type] # read as bytes above
        content_type=known.get(_CONTENT_TYPE),  # type: ignore[arg-type] # read as text above
        expiry_s=known.get(_MESSAGE_EXPIRY),  # type: ignore[arg-type] # read as a number above
        user=tuple(user),
    )


def _skip(reader: _Reader, size: int) -> None:
    if size:
        reader.take(size)
    else:
        reader.varint()
