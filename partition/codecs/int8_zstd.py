"""Activations as one affine int8 grid per tensor, then Zstandard (RFC 8878).

Payload: float32 step, float32 offset (little endian), then one zstd frame of the int8 values, C order.
value = (int8 + 128) * step + offset, so that the smallest value, zero after a rectifier, is exact and
comes back as itself.
"""

import math
import struct
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from bus.errors import LocalProtocolError, RemoteProtocolError
from bus.tensors import Payload, element_count
from partition.codecs.base import Encoded, empty_aligned

# Level 1 loses 2 % in size to level 3 on activations and takes half its time.
LEVEL = 1
_HEADER = struct.Struct("<ff")
_LEVELS = 255
# Bounds for a peer's header: 128 + 127 steps from the offset must stay finite in float32.
_LARGEST = 1e30


class _Contexts(threading.local):
    """zstandard's contexts must not be shared by threads; making one takes longer than using it."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=LEVEL)
        self.decompressor = zstandard.ZstdDecompressor()


class Int8Zstd:
    """At most one byte an element; the error is at most half a step, (max - min) / 510."""

    name = "int8-zstd"
    dtype = "int8"
    encodes_frames = False
    encodes_activations = True
    lossless = False
    encode_work = 1.0
    decode_work = 1.0

    def __init__(self) -> None:
        self._contexts = _Contexts()

    def encode(self, array: npt.NDArray[Any]) -> Encoded:
        """Return the array quantised and compressed.

        Raises:
            LocalProtocolError: if the array holds NaN or infinity, or values beyond 1e30.
        """
        low, high = float(array.min()), float(array.max())
        if not max(abs(low), abs(high)) <= _LARGEST:
            raise LocalProtocolError(
                "an activation with NaN, infinity or values beyond 1e30 cannot be quantised"
            )
        # Rounded through float32 as the decoder sees it; a constant tensor needs some step > 0.
        step = max(float(np.float32((high - low) / _LEVELS)), float(np.finfo(np.float32).tiny))
        grid = np.subtract(array, np.float32(low), dtype=np.float32)
        grid *= np.float32(1.0 / step)
        np.rint(grid, out=grid)
        np.minimum(grid, _LEVELS, out=grid)
        # uint8 minus 128, modulo 256, has the bits of int8: flip the top bit.
        quantised = grid.astype(np.uint8)
        quantised ^= 0x80
        payload = _HEADER.pack(step, low) + self._contexts.compressor.compress(quantised)
        return Encoded(payload, self.dtype, array.shape)

    def decode(self, payload: Payload, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Return the array as float32."""
        if dtype != self.dtype:
            raise RemoteProtocolError("tensor", f"codec {self.name} carries {self.dtype}, not {dtype[:32]}")
        count = element_count(shape)
        data = memoryview(payload)
        if data.nbytes <= _HEADER.size:
            raise RemoteProtocolError("tensor", f"{data.nbytes} bytes are too few for {self.name}")
        step, low = _HEADER.unpack_from(data)
        if not (math.isfinite(low) and abs(low) <= _LARGEST and 0.0 < step <= _LARGEST):
            raise RemoteProtocolError("tensor", "step or offset of the int8 grid is out of bounds")
        quantised = np.frombuffer(self._inflate(data[_HEADER.size :], count), dtype=np.uint8)
        array = empty_aligned(shape)
        np.copyto(array, (quantised ^ 0x80).reshape(shape))
        array *= np.float32(step)
        array += np.float32(low)
        return array

    def _inflate(self, frame: memoryview, count: int) -> bytes:
        """Return exactly `count` bytes; the announced size is checked before anything is allocated."""
        try:
            if zstandard.get_frame_parameters(frame).content_size != count:
                raise RemoteProtocolError("tensor", f"the zstd frame does not announce {count} bytes")
            inflated = self._contexts.decompressor.decompress(
                frame, max_output_size=count, allow_extra_data=False
            )
        except zstandard.ZstdError as error:
            raise RemoteProtocolError("tensor", f"bad zstd frame: {error}") from None
        if len(inflated) != count:  # pragma: no cover - zstd checks it; reshaping must not find out
            raise RemoteProtocolError("tensor", f"the zstd frame holds {len(inflated)} bytes, not {count}")
        return inflated
