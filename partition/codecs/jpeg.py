"""The frame as a baseline JPEG file.

The decoder is Pillow's, kept on a short lead: no format but JPEG is tried, the header's size must be the
announced one before any pixel is decoded, and progressive files, whose scans can cost a thousand times their
size, are refused: `encode` never writes them.
"""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, JpegImagePlugin

from bus.errors import RemoteProtocolError
from bus.tensors import Payload, element_count
from partition.codecs.base import Encoded

QUALITY = 85


class Jpeg:
    """Quality 85, chroma at half resolution: about one bit a channel on photographs."""

    name = "jpeg"
    dtype = "uint8"
    encodes_frames = True
    encodes_activations = False
    lossless = False
    encode_work = 0.7
    decode_work = 1.2

    def encode(self, array: npt.NDArray[Any]) -> Encoded:
        """Return the frame (height, width, 3) as a JPEG file."""
        file = io.BytesIO()
        Image.fromarray(array).save(file, "JPEG", quality=QUALITY)
        return Encoded(file.getbuffer(), self.dtype, array.shape)

    def decode(self, payload: Payload, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Return the frame."""
        if dtype != self.dtype:
            raise RemoteProtocolError("tensor", f"codec {self.name} carries {self.dtype}, not {dtype[:32]}")
        element_count(shape)
        try:
            # The plugin itself, not Image.open: that one guesses formats, and warns about sizes checked here.
            with JpegImagePlugin.JpegImageFile(io.BytesIO(payload)) as image:
                found = (image.height, image.width, len(image.getbands()))
                pixels = None
                if found == shape and image.mode == "RGB" and "progressive" not in image.info:
                    pixels = np.asarray(image)
        except Exception as error:  # noqa: BLE001 - a parser on hostile bytes: what it raises is the peer's fault
            raise RemoteProtocolError("tensor", f"bad JPEG: {error}") from None
        if pixels is None:
            raise RemoteProtocolError("tensor", f"not a baseline RGB JPEG of the announced shape {shape}")
        return pixels
