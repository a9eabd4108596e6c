"""Entries in, bytes of an MCAP file out; no I/O, so that who writes them may do so as it likes."""

from collections.abc import Mapping

from mcap.writer import CompressionType, IndexType, Writer

from bus.recording.entries import Entry, Message
from bus.recording.format import GAPS, NUMBERS, PROFILE, PROPERTIES, channel_of, gap_data, more_of

# Of what is not yet packed: a chunk of that much is closed by itself.
_CHUNK_BYTES = 1 << 20


class _Grown:
    """The end of a file: bytes that nobody has taken yet, at their place in the whole."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken


class Packer:
    """One file, from its first byte to its last.

    Attributes:
        entries: so far.
        size: bytes so far, those of open chunks not counted.

    Args:
        about: what the file says of its origin.
        library: who wrote it.
        compressed: chunks by zstandard.
    """

    def __init__(self, about: Mapping[str, str], library: str, *, compressed: bool = True) -> None:
        self.entries = 0
        self._grown = _Grown()
        self._channels: dict[tuple[str, str, tuple[tuple[str, str], ...]], int] = {}
        self._writer = Writer(
            self._grown,  # type: ignore[arg-type] # all of a file that the writer uses
            chunk_size=_CHUNK_BYTES,
            compression=CompressionType.ZSTD if compressed else CompressionType.NONE,
            # An index of single messages would be larger than small messages are.
            index_types=IndexType.CHUNK | IndexType.METADATA,
        )
        self._writer.start(profile=PROFILE, library=library)
        self._writer.add_metadata("cans", dict(about))

    @property
    def size(self) -> int:
        """Bytes so far, but for those of the open chunk."""
        return self._grown.tell()

    def add(self, entry: Entry) -> None:
        """Put an entry behind the others."""
        if isinstance(entry, Message):
            more = more_of(entry)
            if more:
                self._add(entry, (PROPERTIES, "msgpack", ()), more)
            self._add(entry, channel_of(entry), entry.payload)
        else:
            self._add(entry, (GAPS, "json", ()), gap_data(entry))
        self.entries += 1

    def _add(self, entry: Entry, key: tuple[str, str, tuple[tuple[str, str], ...]], data: bytes) -> None:
        channel = self._channels.get(key)
        if channel is None:
            topic, encoding, metadata = key
            channel = self._channels[key] = self._writer.register_channel(topic, encoding, 0, dict(metadata))
        self._writer.add_message(
            channel, entry.steady_ns, data, publish_time=entry.wall_ns, sequence=entry.number % NUMBERS
        )

    def cut(self) -> bytes:
        """Close the open chunk; return what is to be written behind what was returned before."""
        self._writer.flush()
        return self._grown.take()

    def full(self) -> bytes:
        """Return what is to be written already, without closing a chunk for it."""
        return self._grown.take()

    def finish(self) -> bytes:
        """Return the end of the file, with its index; nothing can be added any more."""
        self._writer.finish()
        return self._grown.take()
