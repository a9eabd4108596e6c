"""Activations, or the normalised input, as they are."""

import math

import numpy as np
import numpy.typing as npt

from partition.codecs.base import Limits
from partition.codecs.formats import Flat, Shape, Whole, Written


class Float32(Whole):
    """Four bytes an element, no loss, no copy: reading gives a read-only view."""

    name = "float32"
    dtype = "float32"
    lossless = True
    encode_work = 0.0
    decode_work = 0.2
    limits = Limits(math.inf, "kept", 0.0)

    def __init__(self) -> None:
        super().__init__("<f4")

    def write(self, array: npt.NDArray[np.float32]) -> Written:
        """Return a view of the array."""
        return Written(b"", (array.reshape(-1),))

    def read(self, _header: memoryview, parts: tuple[Flat, ...], shape: Shape, /) -> npt.NDArray[np.float32]:
        """Return a view of the part."""
        array: npt.NDArray[np.float32] = parts[0].reshape(shape)
        array.flags.writeable = False
        return array
