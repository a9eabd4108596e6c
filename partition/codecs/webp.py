"""The frame as a WebP file (RFC 9649), lossy at a quality or lossless.

Only the two simple layouts, which `encode` writes, are read: one chunk, `VP8 ` or `VP8L`. The extended one
can hold an animation, and libwebp would reserve its canvas before anybody had looked at the size.
"""

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import WebPImagePlugin

from bus.errors import RemoteProtocolError
from bus.tensors import Payload
from partition.codecs import photographs
from partition.codecs.base import Encoded

# Measured on photographs: 3 % larger files than Pillow's own choice, 4, in a third of its time.
_EFFORT = 2
# Lossless: 16 % larger files in a tenth of the time.
_LOSSLESS_EFFORT = 0
# Means of `python -m lab.bench.codecs` over the built-in photographs.
_BYTES_A_CHANNEL = ((1, 0.008), (10, 0.015), (50, 0.032), (80, 0.052), (95, 0.113), (100, 0.216))
_RIFF = struct.Struct("<4sI4s4sI")
# VP8: a frame tag, which says key frame by an even first byte, a start code, two sizes of 14 bits (RFC 6386).
_VP8 = struct.Struct("<B2x3sHH")
_VP8_START = b"\x9d\x01\x2a"
_VP8L = struct.Struct("<BI")
_VP8L_START = 0x2F
_14_BITS = 0x3FFF


class Webp:
    """Smaller than JPEG at the same likeness, for seven times its time to encode; or lossless."""

    dtype = photographs.DTYPE
    encodes_frames = True
    encodes_activations = False
    limits = photographs.LIMITS

    def __init__(self, quality: int | None) -> None:
        """Take a quality of 1 to 100; None is lossless."""
        self.name = "webp-lossless" if quality is None else f"webp{quality}"
        self.lossless = quality is None
        self.encode_work = 2.2 if self.lossless else 3.0
        self.decode_work = 3.0 if self.lossless else 1.8
        self._quality = quality

    def estimate(self, shape: tuple[int, ...]) -> int:
        """Return the mean of photographs; for lossless files an upper bound."""
        if self._quality is None:
            return int(np.prod(shape)) * 9 // 8 + 1024
        return photographs.expected(shape, self._quality, _BYTES_A_CHANNEL)

    def encode(self, array: npt.NDArray[Any]) -> Encoded:
        """Return the frame (height, width, 3) as a WebP file."""
        if self._quality is None:
            return photographs.save(
                self.name, array, "WEBP", lossless=True, quality=0, method=_LOSSLESS_EFFORT
            )
        return photographs.save(self.name, array, "WEBP", quality=self._quality, method=_EFFORT)

    def decode(self, payload: Payload, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        """Return the frame."""
        photographs.check(self.name, dtype, shape)
        if (*_size(memoryview(payload), lossless=self.lossless), 3) != shape:
            raise RemoteProtocolError("tensor", f"not a simple WebP file of the announced shape {shape}")
        return photographs.pixels(WebPImagePlugin.WebPImageFile, payload, shape)


def _size(data: memoryview, *, lossless: bool) -> tuple[int, ...]:
    """Return (height, width) of a file of one chunk of the kind that ends with the data, else nothing."""
    at = _RIFF.size
    if data.nbytes < at + _VP8.size:
        return ()
    riff, size, webp, kind, length = _RIFF.unpack_from(data)
    ends = at + length + length % 2 == data.nbytes == size + 8
    if (riff, webp, kind) != (b"RIFF", b"WEBP", b"VP8L" if lossless else b"VP8 ") or not ends:
        return ()
    if lossless:
        start, bits = _VP8L.unpack_from(data, at)
        return ((bits >> 14 & _14_BITS) + 1, (bits & _14_BITS) + 1) if start == _VP8L_START else ()
    tag, start, width, height = _VP8.unpack_from(data, at)
    return (height & _14_BITS, width & _14_BITS) if start == _VP8_START and not tag % 2 else ()
