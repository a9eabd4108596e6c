"""The frame as a baseline JPEG file (ITU-T T.81).

The decoder is Pillow's, kept on a short lead: no format but JPEG is tried, the header's size must be the
announced one before any pixel is decoded, and files of more than one scan, progressive ones among them, whose
scans can cost a thousand times their size, are refused: `encode` never writes them.
"""

import re
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import JpegImagePlugin

from bus.errors import RemoteProtocolError
from bus.tensors import Payload
from partition.codecs import photographs
from partition.codecs.base import Encoded

QUALITY = 85
# Means of `python -m lab.bench.codecs` over the built-in photographs.
_BYTES_A_CHANNEL = ((1, 0.012), (10, 0.018), (50, 0.043), (75, 0.062), (85, 0.081), (95, 0.145), (100, 0.28))
_START_OF_IMAGE = b"\xff\xd8"
_END_OF_IMAGE = b"\xff\xd9"
_START_OF_SCAN = 0xDA
# Start of frame of all other kinds (T.81, table B.1): C1 to CF without the tables DHT, JPG and DAC.
_OTHER_KINDS = set(range(0xC1, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Inside a scan FF stands before 00 or a restart only (B.1.1.5), so this finds the scan's end.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]", re.DOTALL)


class Jpeg:
    """Chroma at half resolution; at quality 85 about two thirds of a bit a channel on photographs."""

    dtype = photographs.DTYPE
    encodes_frames = True
    encodes_activations = False
    lossless = False
    encode_work = 0.7
    decode_work = 1.2
    limits = photographs.LIMITS

    def __init__(self, quality: int = QUALITY, *, name: str | None = None) -> None:
        self.name = name or f"jpeg{quality}"
        self._quality = quality

    def estimate(self, shape: tuple[int, ...]) -> int:
        """Return the mean of photographs; noise takes several times that."""
        return photographs.expected(shape, self._quality, _BYTES_A_CHANNEL)

    def encode(self, array: npt.NDArray[Any]) -> Encoded:
        """Return the frame (height, width, 3) as a JPEG file."""
        return photographs.save(self.name, array, "JPEG", quality=self._quality)

    def decode(self, payload: Payload, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        """Return the frame."""
        photographs.check(self.name, dtype, shape)
        if not _has_one_scan(memoryview(payload)):
            raise RemoteProtocolError("tensor", "not a baseline JPEG of one scan that ends with the payload")
        return photographs.pixels(JpegImagePlugin.JpegImageFile, payload, shape)


def _has_one_scan(data: memoryview) -> bool:
    """Whether the segments of a file lead to one baseline scan, and the file ends where that does."""
    at = 2
    if data[:at] != _START_OF_IMAGE:
        return False
    kind = None
    while kind != _START_OF_SCAN:
        if at + 4 > data.nbytes:
            return False
        mark, kind, length = struct.unpack_from(">BBH", data, at)
        if mark != 0xFF or kind in _OTHER_KINDS:
            return False
        at += 2 + length
    found = _MARKER.search(data, at)
    return found is not None and found.end() == data.nbytes and found.group() == _END_OF_IMAGE
