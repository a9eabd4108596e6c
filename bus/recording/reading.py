"""An MCAP file in, entries out, in the order of their arrival; as far as a file goes that was cut short."""

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from mcap.exceptions import EndOfFile, InvalidMagic
from mcap.reader import make_reader
from mcap.records import Channel, Chunk, Header, McapRecord, Metadata
from mcap.records import Message as Record
from mcap.stream_reader import StreamReader, breakup_chunk

from bus.errors import ConfigurationError, RemoteProtocolError
from bus.recording.entries import Entry
from bus.recording.format import NUMBERS, PROFILE, PROPERTIES, entry_of

# Above what `cans record` writes at once; a damaged length must not ask for all memory.
_RECORD_BYTES = 64 << 20

EndKind = Literal["whole", "cut short", "damaged"]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a file ends.

    Attributes:
        kind: with its index; in the middle, as after a kill -9 or on a full disk; or with bytes that make no
            sense.
        at: offset up to which it can be read. detail: what is wrong there, in words.
    """

    kind: EndKind
    at: int
    detail: str = ""


class Recording:
    """Iterates over the entries of a file, once.

    Attributes:
        about: what it says of its origin.
        ending: how it ended; None before the end has been reached.

    Args:
        stream: the file, at its beginning.
        from_ns: skip what arrived before, steady clock; by the index, where there is one.

    Raises:
        ConfigurationError: no recording at all; one sentence without the file's name.
    """

    def __init__(self, stream: BinaryIO, *, from_ns: int | None = None) -> None:
        self.about: dict[str, str] = {}
        self.ending: Ending | None = None
        self._stream = stream
        self._from_ns = from_ns
        self._channels: dict[int, Channel] = {}
        self._more: tuple[int, bytes] = (-1, b"")
        self._last = -1
        self._records = self._all()
        self._begin()

    def _begin(self) -> None:
        """Read the header and what the file says of its origin."""
        try:
            header = next(self._records)
        except (InvalidMagic, EndOfFile, struct.error):
            raise ConfigurationError("it is no recording: its first bytes are not those of MCAP") from None
        except Exception as error:  # noqa: BLE001 - the library raises whatever damaged bytes make it do
            raise ConfigurationError(f"its beginning is damaged: {error}") from None
        if not isinstance(header, Header) or header.profile != PROFILE:
            raise ConfigurationError("it is an MCAP file, but none that cans record has written")
        try:
            record = next(self._records)
        except Exception:  # noqa: BLE001 - as above; who iterates will hear of it
            self._stream.seek(0)
            self._records = self._all()
            return
        if isinstance(record, Metadata):
            self.about = dict(record.metadata)
        else:
            self._records = itertools.chain([record], self._records)

    def _all(self) -> Iterator[McapRecord]:
        """Return the records from the file's beginning on."""
        return StreamReader(
            self._stream, emit_chunks=True, validate_crcs=True, record_size_limit=_RECORD_BYTES
        ).records

    def __iter__(self) -> Iterator[Entry]:
        """Yield what can be read; afterwards `ending` says whether that is all."""
        if self._from_ns is not None:
            self._seek(self._from_ns)
        at = self._stream.tell()
        try:
            for record in self._records:
                if isinstance(record, Chunk):
                    yield from self._entries(record)
                at = self._stream.tell()
        except EndOfFile:
            self.ending = Ending("cut short", at, "it ends within a record")
        except Exception as error:  # noqa: BLE001 - as above
            self.ending = Ending("damaged", at, f"{type(error).__name__}: {error}"[:200])
        else:
            self.ending = Ending("whole", at)

    def _seek(self, from_ns: int) -> None:
        """Go to the first chunk that reaches so far; stay where there is no index."""
        begins = self._stream.tell()
        self._stream.seek(0)
        try:
            summary = make_reader(self._stream).get_summary()
        except Exception:  # noqa: BLE001 - a file without its end is read from its beginning
            summary = None
        chunks = sorted(summary.chunk_indexes, key=lambda each: each.chunk_start_offset) if summary else []
        if summary is None or not chunks:
            self._stream.seek(begins)
            return
        first = next((each for each in chunks if each.message_end_time >= from_ns), chunks[-1])
        self._channels = dict(summary.channels)
        self._stream.seek(first.chunk_start_offset)
        self._records = StreamReader(
            self._stream, skip_magic=True, emit_chunks=True, record_size_limit=_RECORD_BYTES
        ).records

    def _entries(self, chunk: Chunk) -> Iterator[Entry]:
        if chunk.uncompressed_size > _RECORD_BYTES:
            raise RemoteProtocolError("malformed", f"a chunk of {chunk.uncompressed_size} bytes")
        for record in breakup_chunk(chunk, validate_crc=True):
            entry = self._entry(record)
            if entry is not None and (self._from_ns is None or entry.steady_ns >= self._from_ns):
                yield entry

    def _entry(self, record: McapRecord) -> Entry | None:
        """Return what a record stands for; None for what belongs to others."""
        if isinstance(record, Channel):
            self._channels[record.id] = record
        if not isinstance(record, Record):
            return None
        channel = self._channels[record.channel_id]
        if channel.topic == PROPERTIES:
            self._more = (record.sequence, record.data)
            return None
        more = self._more[1] if self._more[0] == record.sequence else b""
        number = record.sequence
        if self._last > number:  # MCAP's numbers have begun again
            number += (self._last - number + NUMBERS - 1) // NUMBERS * NUMBERS
        self._last = number
        times_ns = (record.publish_time, record.log_time)
        return entry_of((channel.topic, channel.metadata), record.data, more, number, times_ns)


def span_of(stream: BinaryIO) -> tuple[int, int] | None:
    """Return a file's first and last moment, steady clock, ns; None without an index, or an entry."""
    try:
        summary = make_reader(stream).get_summary()
    except Exception:  # noqa: BLE001 - the library raises whatever damaged bytes make it do
        return None
    chunks = summary.chunk_indexes if summary else []
    if not chunks:
        return None
    return min(each.message_start_time for each in chunks), max(each.message_end_time for each in chunks)
