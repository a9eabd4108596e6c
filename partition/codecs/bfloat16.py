"""Activations as bfloat16: the upper half of a float32, rounded to nearest, ties to even."""

import numpy as np
import numpy.typing as npt
import torch

from partition.codecs.base import Limits, empty_aligned
from partition.codecs.formats import Flat, Shape, Whole, Written, clipped

_LARGEST = float(torch.finfo(torch.bfloat16).max)


class Bfloat16(Whole):
    """Two bytes an element; the range of float32, 2 to 3 decimal digits.

    numpy has no such dtype, so the bits travel as unsigned integers.
    """

    name = "bfloat16"
    dtype = "bfloat16"
    lossless = False
    encode_work = 0.4
    decode_work = 0.3
    limits = Limits(_LARGEST, "clipped", 4.0)

    def __init__(self) -> None:
        super().__init__("<u2")

    def write(self, array: npt.NDArray[np.float32]) -> Written:
        """Return the array rounded."""
        half = clipped(array, _LARGEST).bfloat16()
        return Written(b"", (half.view(torch.int16).numpy().view(np.uint16),))

    def read(self, _header: memoryview, parts: tuple[Flat, ...], shape: Shape, /) -> npt.NDArray[np.float32]:
        """Return the array as float32, without a copy between."""
        array = empty_aligned(shape)
        bits = array.view(np.uint32)
        np.copyto(bits, parts[0].reshape(shape))
        bits <<= 16
        return array
