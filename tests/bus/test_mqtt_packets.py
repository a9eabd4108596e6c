"""Our PUBLISH reader and writer against paho's own, and against garbage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import _packet
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties

from bus.connection import Properties
from bus.mqtt_packets import (
    PackedProperties,
    PacketError,
    pack_properties,
    packet_bytes,
    publish_head,
    read_publish,
    varint,
)

_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=20)
_PROPERTIES = st.builds(
    Properties,
    response_topic=st.none() | _TEXT,
    correlation_data=st.none() | st.binary(max_size=20),
    content_type=st.none() | _TEXT,
    expiry_s=st.none() | st.integers(0, 2**32 - 1),
    user=st.lists(st.tuples(_TEXT, _TEXT), max_size=3).map(tuple),
)


def _split(packet: bytes) -> tuple[int, bytearray]:
    """First byte, and what follows the remaining length."""
    at = 1
    while packet[at] & 0x80:
        at += 1
    return packet[0], bytearray(packet[at + 1 :])


@given(_TEXT, st.binary(max_size=300), st.booleans(), st.sampled_from([4, 5]), st.none() | _PROPERTIES)
def test_what_we_write_both_we_and_paho_read(
    topic: str,
    payload: bytes,
    retain: bool,
    protocol: int,
    properties: Properties | None,
) -> None:
    packed = pack_properties(properties) if protocol == 5 else b""
    packet = publish_head(topic, len(payload), retain=retain, protocol=protocol, properties=packed) + payload
    assert len(packet) == packet_bytes(topic, len(payload), qos=0, properties=packed)
    first, rest = _split(packet)
    ours = read_publish(first, rest, protocol)
    theirs = _packet.decode_publish(first, bytes(rest), MQTTProtocolVersion(protocol))
    assert ours.topic == theirs.topic.decode() == topic
    assert bytes(ours.payload) == theirs.payload == payload
    assert ours.retained == theirs.retain == retain
    assert (ours.qos, ours.packet_id) == (theirs.qos, theirs.mid) == (0, 0)
    empty = properties is None or properties == Properties()
    assert ours.properties == (None if protocol == 4 or empty else properties)


def test_properties_are_the_bytes_that_paho_writes() -> None:
    theirs = PahoProperties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    theirs.UserProperty = [("a", "b"), ("c", "d")]
    ours = Properties(user=(("a", "b"), ("c", "d")))
    assert PackedProperties(ours).pack() == theirs.pack()  # type: ignore[no-untyped-call]
    theirs = PahoProperties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    theirs.MessageExpiryInterval = 300
    assert pack_properties(Properties(expiry_s=300)) == theirs.pack()  # type: ignore[no-untyped-call]


def test_qos_1_carries_its_packet_id_and_counts_two_bytes() -> None:
    got = read_publish(0x32, bytearray(b"\x00\x01t\x00\x07payload"), 4)
    assert (got.qos, got.packet_id, bytes(got.payload)) == (1, 7, b"payload")
    assert packet_bytes("t", 0, qos=1, properties=b"") == packet_bytes("t", 0, qos=0, properties=b"") + 2


@pytest.mark.parametrize(
    "properties",
    [b"\x01\x01", b"\x23\x00\x05", b"\x0b\x90\x01"],
    ids=["payload format", "topic alias", "subscription identifier"],
)
def test_properties_that_mean_nothing_here_are_skipped(properties: bytes) -> None:
    packet = bytearray(b"\x00\x01t" + varint(len(properties)) + properties + b"x")
    assert bytes(read_publish(0x30, packet, 5).payload) == b"x"


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x00",
        b"\x00\x05ab",
        b"\x00\x02\xff\xfe\x00",
        b"\x00\x01t\x05\x26",
        b"\x00\x01t\xff\xff\xff\xff\x01",
        b"\x00\x01t\x02\x7f\x00",
    ],
)
def test_garbage_is_one_kind_of_error(packet: bytes) -> None:
    with pytest.raises(PacketError):
        read_publish(0x30, bytearray(packet), 5)


@given(st.integers(0, 255), st.binary(max_size=60), st.sampled_from([4, 5]))
def test_random_bytes_are_read_or_refused(first: int, packet: bytes, protocol: int) -> None:
    try:
        got = read_publish(first, bytearray(packet), protocol)
    except PacketError:
        return
    assert len(got.payload) <= len(packet)
