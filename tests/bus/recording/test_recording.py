"""What was recorded is what is read, whatever has happened to the file since."""

import io
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.writer import Writer

from bus.connection import Properties
from bus.errors import ConfigurationError
from bus.recording.entries import Entry, Gap, Message
from bus.recording.format import NUMBERS, PROFILE, PROPERTIES, encoding_of
from bus.recording.packing import Packer
from bus.recording.reading import Recording

ABOUT = {"prefix": "cans/v1"}
SAID = Properties("cans/v1/reply/cam-1", b"\x00\x01", "application/msgpack", 3, (("traceparent", "00-1"),))
ENTRIES: list[Entry] = [
    Message(0, 5, 5, "cans/v1/state/edge/edge-1", b'{"role":"edge"}', 1, retained=True),
    Message(1, 6, 6, "cans/v1/infer/edge-1/cam-1", b"\x81\xa1a\x01" * 100, 0, properties=SAID),
    Gap(2, 7, 7, "disconnected", seconds=1.5),
    Message(3, 6, 8, "cans/v1/infer/edge-1/cam-1", b"", 0),  # the clock was set back
    Gap(4, 9, 9, "too_slow", lost=7),
    Message(5, 10, 10, "ünïcode/🚌", b"\xff\xfe", 1, properties=Properties(user=(("a", "b"), ("a", "c")))),
]


def packed(entries: Sequence[Entry], *, every: int = 2, end: bool = True, compressed: bool = True) -> bytes:
    packer = Packer(ABOUT, "cans test", compressed=compressed)
    parts = []
    for number, entry in enumerate(entries):
        packer.add(entry)
        parts.append(packer.cut() if number % every == every - 1 else packer.full())
    return b"".join([*parts, packer.finish() if end else packer.cut()])


def read(content: bytes, from_ns: int | None = None) -> tuple[list[Entry], Recording]:
    recording = Recording(io.BytesIO(content), from_ns=from_ns)
    return list(recording), recording


@pytest.mark.parametrize("compressed", [True, False])
def test_what_was_packed_is_read_in_its_order_with_all_that_was_said(*, compressed: bool) -> None:
    entries, recording = read(packed(ENTRIES, compressed=compressed))
    assert entries == ENTRIES
    assert recording.about == ABOUT
    assert recording.ending is not None
    assert recording.ending.kind == "whole"


def test_a_packer_says_how_large_its_file_is_but_for_the_open_chunk() -> None:
    packer = Packer(ABOUT, "cans test")
    size = len(packer.full())
    assert packer.size == size
    packer.add(ENTRIES[0])
    assert (packer.size, packer.entries, packer.full()) == (size, 1, b"")
    more = packer.cut()
    assert packer.size == size + len(more) > size


def test_tools_of_mcap_see_topics_payloads_and_times() -> None:
    reader = make_reader(io.BytesIO(packed(ENTRIES)))
    assert reader.get_header().profile == PROFILE
    found = [
        (channel.topic, channel.message_encoding, message.data, message.log_time)
        for _, channel, message in reader.iter_messages()
        if not channel.topic.startswith("$cans")
    ]
    assert found[0] == ("cans/v1/state/edge/edge-1", "json", b'{"role":"edge"}', 5)
    assert [each[1] for each in found] == ["json", "msgpack", "", ""]


def test_a_file_cut_at_any_byte_gives_its_whole_chunks_or_one_sentence() -> None:
    content = packed(ENTRIES)
    counts: list[int] = []
    for size in range(len(content)):
        try:
            entries, recording = read(content[:size])
        except ConfigurationError:
            assert not counts
            continue
        assert entries == ENTRIES[: len(entries)]
        assert recording.ending is not None
        assert recording.ending.kind != "whole"
        assert recording.ending.at <= size
        counts.append(len(entries))
    assert counts == sorted(counts)
    assert set(counts) == {0, 2, 4, 6}


@given(at=st.integers(0, 5000), byte=st.integers(0, 255))
def test_a_byte_that_is_another_one_never_makes_up_a_message(at: int, byte: int) -> None:
    content = bytearray(packed(ENTRIES))
    content[at % len(content)] = byte
    try:
        entries, recording = read(bytes(content))
    except ConfigurationError:
        return
    assert recording.ending is not None
    if recording.ending.kind == "whole":
        assert len(entries) <= len(ENTRIES)
    # Checksums guard what is in chunks; numbers outside of them, such as an index, say nothing of entries.
    assert all(entry in ENTRIES for entry in entries)


def test_a_later_beginning_is_found_by_the_index_or_without_one() -> None:
    many = [Message(n, n, n, f"t/{n % 3}", bytes(50), 0) for n in range(100)]
    for end in (True, False):
        entries, _ = read(packed(many, every=10, end=end), from_ns=57)
        assert entries == many[57:]
    content = packed(many, every=10)
    entries, _ = read(content[: len(content) // 2], from_ns=15)  # its end says nothing
    assert entries[0] == many[15]
    entries, _ = read(content[:-28] + b"\x7f" * 20 + content[-8:], from_ns=15)
    assert entries[0] == many[15]
    entries, recording = read(content, from_ns=1000)
    assert entries == []
    assert recording.ending is not None


def test_numbers_go_on_where_those_of_mcap_begin_again() -> None:
    late = [replace(ENTRIES[0], number=NUMBERS - 2 + n) for n in range(4)]
    entries, _ = read(packed(late))
    assert [entry.number for entry in entries] == [NUMBERS - 2, NUMBERS - 1, NUMBERS, NUMBERS + 1]


def foreign(change: Callable[[Writer], None], profile: str = PROFILE) -> bytes:
    """A file of MCAP that was not made by a packer."""
    stream = io.BytesIO()
    writer = Writer(stream)
    writer.start(profile=profile)
    change(writer)
    writer.finish()
    return stream.getvalue()


def test_what_is_none_of_ours_is_one_sentence_or_damaged() -> None:
    for content, why in (
        (b"", "no recording"),
        (b"PK\x03\x04" * 10, "no recording"),
        (foreign(lambda writer: None, profile="ros2"), "none that cans record"),
        (packed(ENTRIES)[:9] + struct.pack("<Q", 2**63) + b"x", "damaged"),
    ):
        with pytest.raises(ConfigurationError, match=why) as caught:
            read(content)
        assert "\n" not in str(caught.value)

    def odd(writer: Writer) -> None:
        channel = writer.register_channel("t", "", 0, {"qos": "one"})
        writer.add_message(channel, 1, b"x", 1)

    _, recording = read(foreign(odd))
    assert recording.about == {}
    assert recording.ending is not None
    assert recording.ending.kind == "damaged"
    assert "message 0" in recording.ending.detail


def test_a_chunk_that_claims_to_be_huge_is_not_unpacked() -> None:
    stream = io.BytesIO()
    writer = Writer(stream, chunk_size=1 << 30)
    writer.start(profile=PROFILE)
    channel = writer.register_channel("t", "", 0, {"qos": "0", "retained": "0"})
    writer.add_message(channel, 1, bytes(65 << 20), 1)
    writer.finish()
    entries, recording = read(stream.getvalue())
    assert entries == []
    assert recording.ending is not None
    assert "bytes" in recording.ending.detail


def test_properties_without_their_message_belong_to_nobody() -> None:
    def orphan(writer: Writer) -> None:
        more = writer.register_channel(PROPERTIES, "msgpack", 0, {})
        own = writer.register_channel("t", "", 0, {"qos": "0", "retained": "0"})
        writer.add_message(more, 1, msgspec.msgpack.encode({"expiry_s": 3}), 1, sequence=8)
        writer.add_message(own, 1, b"x", 1, sequence=9)

    entries, _ = read(foreign(orphan))
    assert entries == [Message(9, 1, 1, "t", b"x")]


@given(st.binary(max_size=4))
def test_every_payload_has_an_encoding(payload: bytes) -> None:
    assert encoding_of(payload) in {"json", "msgpack", ""}
