"""Activations as one byte each, on a grid of 256 levels a tensor or a channel."""

import math

import numpy as np
import numpy.typing as npt

from partition.codecs import affine
from partition.codecs.base import Limits
from partition.codecs.formats import Flat, Part, Shape, Written

_LEVELS = 255
# A level minus 128, modulo 256, has the bits of int8: flip the top bit.
_TOP_BIT = 0x80


class Int8:
    """One byte an element; the error is at most half a step, (max - min) / 510 of tensor or channel."""

    dtype = "int8"
    lossless = False
    encode_work = 0.35
    decode_work = 0.45
    # The levels and the result.
    limits = Limits(affine.LARGEST, "refused", 5.0)

    def __init__(self, *, per_channel: bool = False) -> None:
        self.name = "int8-channel" if per_channel else "int8"
        self._per_channel = per_channel

    def write(self, array: npt.NDArray[np.float32]) -> Written:
        """Return the array quantised."""
        header, grid = affine.quantise(array, _LEVELS, per_channel=self._per_channel)
        grid ^= _TOP_BIT
        return Written(header, (grid,))

    def header_bytes(self, shape: Shape, /) -> int:
        """Return eight bytes for tensor or channel."""
        return affine.header_bytes(shape, per_channel=self._per_channel)

    def parts(self, _header: memoryview, shape: Shape, /) -> tuple[Part, ...]:
        """Return one part."""
        return self.largest_parts(shape)

    def largest_parts(self, shape: Shape, /) -> tuple[Part, ...]:
        """Return one part."""
        return (Part(np.dtype(np.uint8), math.prod(shape)),)

    def read(self, header: memoryview, parts: tuple[Flat, ...], shape: Shape, /) -> npt.NDArray[np.float32]:
        """Return the array as float32."""
        return affine.restore(
            header, np.bitwise_xor(parts[0], _TOP_BIT, dtype=np.uint8), shape, per_channel=self._per_channel
        )
