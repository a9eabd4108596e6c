"""How the parts of a format become bytes: joined, shuffled or not, compressed by zstd, lz4 or not.

Shuffling (as in Blosc and HDF5) puts the first bytes of all items together, then the second ones: exponents
of neighbours are alike, so a compressor finds more.

Unpacking never makes more than the bytes that header and shape announce; a compressed frame that says
anything else, or goes on after its end, is refused before it is opened.
"""

import threading
from typing import Any, Protocol

import lz4.block
import numpy as np
import numpy.typing as npt
import zstandard

from bus.errors import ConfigurationError, RemoteProtocolError
from bus.tensors import Payload
from partition.codecs.formats import Flat, Part

ZSTD_LEVELS = range(1, 20)
_SHUFFLE_WORK = 0.15
_UNSHUFFLE_WORK = 0.35


class Compressor(Protocol):
    """Bytes to fewer bytes.

    Attributes:
        name: as in a codec's name; empty for none.
        encode_work, decode_work: for one byte, relative to int8 + zstd for one element.
        copies: of the data that decoding makes, at its peak.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - see the class
    @property
    def encode_work(self) -> float: ...  # noqa: D102
    @property
    def decode_work(self) -> float: ...  # noqa: D102
    @property
    def copies(self) -> int: ...  # noqa: D102

    def compress(self, data: Payload) -> Payload:
        """Return the data compressed."""
        ...

    def inflate(self, data: memoryview, size: int) -> Payload:
        """Return exactly `size` bytes.

        Raises:
            RemoteProtocolError: the data does not hold exactly these.
        """
        ...

    def most(self, size: int) -> int:
        """Return the most bytes that `size` bytes can become."""
        ...


class Plain:
    """No compression, no copy."""

    name = ""
    encode_work = 0.0
    decode_work = 0.0
    copies = 0

    def compress(self, data: Payload) -> Payload:
        """Return the data."""
        return data

    def inflate(self, data: memoryview, size: int) -> Payload:
        """Return the data, if it has the size."""
        if data.nbytes != size:
            raise RemoteProtocolError("tensor", f"{size} bytes announced, got {data.nbytes}")
        return data

    def most(self, size: int) -> int:
        """Return the size itself."""
        return size


class _Contexts(threading.local):
    """zstandard's contexts must not be shared by threads; making one takes longer than using it."""

    def __init__(self, level: int, dictionary: bytes) -> None:
        known = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
        self.compressor = zstandard.ZstdCompressor(level=level, dict_data=known, write_dict_id=False)
        self.decompressor = zstandard.ZstdDecompressor(dict_data=known)


class Zstd:
    """One Zstandard frame (RFC 8878) that announces its size.

    Args:
        level: 1 to 22.
        dictionary: what both sides know of the data, as zstd trains it from samples; empty for none.

    Raises:
        ConfigurationError: a dictionary that is none.
    """

    copies = 1
    decode_work = 0.4

    def __init__(self, level: int, dictionary: bytes = b"") -> None:
        self.name = f"zstd{level}"
        # Measured at 1, 3, 9 and 19 (`python -m lab.bench.codecs`); a line through their logarithms.
        self.encode_work = 0.6 * 1.26 ** (level - 1)
        try:
            self._contexts = _Contexts(level, dictionary)
        except zstandard.ZstdError as error:
            raise ConfigurationError(f"that is no zstd dictionary: {error}") from None

    def compress(self, data: Payload) -> Payload:
        """Return one frame."""
        return self._contexts.compressor.compress(data)

    def inflate(self, data: memoryview, size: int) -> Payload:
        """Return what the frame holds; the announced size is checked before anything is allocated."""
        try:
            if zstandard.get_frame_parameters(data).content_size != size:
                raise RemoteProtocolError("tensor", f"the zstd frame does not announce {size} bytes")
            inflated = self._contexts.decompressor.decompress(
                data, max_output_size=size, allow_extra_data=False
            )
        except zstandard.ZstdError as error:
            raise RemoteProtocolError("tensor", f"bad zstd frame: {error}") from None
        if len(inflated) != size:  # pragma: no cover - zstd checks it; reshaping must not find out
            raise RemoteProtocolError("tensor", f"the zstd frame holds {len(inflated)} bytes, not {size}")
        return inflated

    def most(self, size: int) -> int:
        """Return ZSTD_compressBound (zstd.h), the frame's header included."""
        return size + (size >> 8) + 64


class Lz4:
    """One LZ4 block without its size, which header and shape say."""

    name = "lz4"
    # python-lz4 copies its buffer into the bytes that it gives.
    copies = 2
    encode_work = 0.4
    decode_work = 0.2
    # A byte of a block stands for at most 255 (lz4_Block_format.md: one more byte of length).
    _EXPANSION = 255

    def compress(self, data: Payload) -> Payload:
        """Return one block."""
        block: bytes = lz4.block.compress(data, store_size=False)
        return block

    def inflate(self, data: memoryview, size: int) -> Payload:
        """Return what the block holds; a block too short for the size is refused before it is allocated."""
        if size > self._EXPANSION * data.nbytes:
            raise RemoteProtocolError("tensor", f"{data.nbytes} bytes of lz4 cannot hold {size}")
        try:
            inflated: bytes = lz4.block.decompress(data, uncompressed_size=size)
        except lz4.block.LZ4BlockError as error:
            raise RemoteProtocolError("tensor", f"bad lz4 block: {error}") from None
        if len(inflated) != size:
            raise RemoteProtocolError("tensor", f"the lz4 block holds {len(inflated)} bytes, not {size}")
        return inflated

    def most(self, size: int) -> int:
        """Return LZ4_compressBound (lz4.h)."""
        return size + size // 255 + 16


class Packer:
    """Parts to bytes and back.

    Attributes:
        suffix: of a codec's name.
        compressor: after joining.
        shuffle: before it.
    """

    def __init__(self, compressor: Compressor, *, shuffle: bool = False) -> None:
        self.compressor = compressor
        self.shuffle = shuffle
        self.suffix = "".join(f"-{word}" for word in ("shuffle" if shuffle else "", compressor.name) if word)

    @property
    def encode_work(self) -> float:
        """For one byte, relative to int8 + zstd for one element."""
        return self.compressor.encode_work + _SHUFFLE_WORK * self.shuffle

    @property
    def decode_work(self) -> float:
        """For one byte, relative to int8 + zstd for one element."""
        return self.compressor.decode_work + _UNSHUFFLE_WORK * self.shuffle

    @property
    def copies(self) -> int:
        """How many copies of the parts unpacking makes."""
        return self.compressor.copies + int(self.shuffle)

    def pack(self, header: bytes, parts: tuple[Flat, ...]) -> Payload:
        """Return header and parts as one payload; one part without header and compression is not copied."""
        bodies = [_shuffled(part) if self.shuffle else part.data.cast("B") for part in parts]
        body = self.compressor.compress(bodies[0] if len(bodies) == 1 else b"".join(bodies))
        return b"".join((header, body)) if header else body

    def unpack(self, body: memoryview, wanted: tuple[Part, ...]) -> tuple[Flat, ...]:
        """Return the parts; without compression and shuffling they are views of `body`.

        Raises:
            RemoteProtocolError: the body does not hold exactly these.
        """
        data = self.compressor.inflate(body, sum(part.size for part in wanted))
        parts, start = [], 0
        for part in wanted:
            flat = np.frombuffer(data, part.dtype, part.items, start)
            start += part.size
            parts.append(_unshuffled(flat) if self.shuffle else flat)
        return tuple(parts)

    def most(self, wanted: tuple[Part, ...]) -> int:
        """Return the most bytes that such parts can become."""
        return self.compressor.most(sum(part.size for part in wanted))


def _shuffled(part: Flat) -> memoryview:
    columns: npt.NDArray[Any] = part.view(np.uint8).reshape(-1, part.itemsize).T
    return np.ascontiguousarray(columns).data.cast("B")


def _unshuffled(part: Flat) -> Flat:
    rows: npt.NDArray[Any] = part.view(np.uint8).reshape(part.itemsize, -1).T
    return np.ascontiguousarray(rows).reshape(-1).view(part.dtype)
