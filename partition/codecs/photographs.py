"""What the image formats share: Pillow behind a door, and sizes of photographs.

What a decoder of images reads was written by a stranger. Each format's file checks size and kind in the bytes
themselves, then this opens them with that format's plugin alone, not with Image.open, which guesses formats.
"""

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.ImageFile import ImageFile

from bus.errors import LocalProtocolError, RemoteProtocolError
from bus.tensors import Payload, element_count
from partition.codecs.base import Encoded, Limits

DTYPE = "uint8"
# Pillow keeps four bytes a pixel; then its copy as bytes, and the file.
LIMITS = Limits(255.0, "kept", 4.0)


def save(name: str, array: npt.NDArray[Any], kind: str, **options: object) -> Encoded:
    """Return a frame, uint8 (height, width, 3), as a file of Pillow's format `kind`.

    Raises:
        LocalProtocolError: anything else, or more than the format can hold.
    """
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise LocalProtocolError(f"codec {name} takes a frame (height, width, 3), not {array.shape}")
    file = io.BytesIO()
    try:
        Image.fromarray(np.ascontiguousarray(array)).save(file, kind, **options)
    except (OSError, ValueError) as error:
        raise LocalProtocolError(f"codec {name} cannot hold a frame of {array.shape}: {error}") from None
    return Encoded(file.getbuffer(), DTYPE, array.shape)


def check(name: str, dtype: str, shape: tuple[int, ...]) -> None:
    """Refuse what no frame can be.

    Raises:
        RemoteProtocolError: dtype or shape.
    """
    if dtype != DTYPE:
        raise RemoteProtocolError("tensor", f"codec {name} carries {DTYPE}, not {dtype[:32]}")
    element_count(shape)


def pixels(plugin: type[ImageFile], payload: Payload, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Return the frame in a file; the size in its header is compared before any pixel is decoded.

    Raises:
        RemoteProtocolError: damaged, or not RGB of that shape.
    """
    try:
        with plugin(io.BytesIO(payload)) as image:
            if (image.height, image.width, 3) == shape and image.mode == "RGB":
                return np.asarray(image)
    except Exception as error:  # noqa: BLE001 - a parser on hostile bytes: what it raises is the peer's fault
        raise RemoteProtocolError("tensor", f"bad {plugin.format}: {error}") from None
    raise RemoteProtocolError("tensor", f"not an RGB {plugin.format} of the announced shape {shape}")


def expected(shape: tuple[int, ...], quality: int, table: Sequence[tuple[int, float]]) -> int:
    """Return the bytes of a photograph.

    Args:
        shape: of the frame.
        quality: wanted.
        table: quality, bytes a channel; between them a line through the logarithms.
    """
    qualities, sizes = zip(*table, strict=True)
    return math.ceil(math.prod(shape) * math.exp(np.interp(quality, qualities, np.log(sizes))))
