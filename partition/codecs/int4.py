"""Activations as half a byte each, on a grid of 16 levels a tensor or a channel."""

import math

import numpy as np
import numpy.typing as npt

from bus.errors import RemoteProtocolError
from partition.codecs import affine
from partition.codecs.base import Limits
from partition.codecs.formats import Flat, Part, Shape, Written

_LEVELS = 15


class Int4:
    """Two elements a byte, the first in the lower half; errs by half a step at most, (max - min) / 30."""

    # What the bytes are: numpy has no dtype of four bits.
    dtype = "uint8"
    lossless = False
    encode_work = 0.45
    decode_work = 0.65
    # The levels and the result.
    limits = Limits(affine.LARGEST, "refused", 6.0)

    def __init__(self, *, per_channel: bool = False) -> None:
        self.name = "int4-channel" if per_channel else "int4"
        self._per_channel = per_channel

    def write(self, array: npt.NDArray[np.float32]) -> Written:
        """Return the array quantised; after an odd number of elements half a byte is zero."""
        header, grid = affine.quantise(array, _LEVELS, per_channel=self._per_channel)
        pairs = grid[::2].copy()
        pairs[: grid.size // 2] |= grid[1::2] << 4
        return Written(header, (pairs,))

    def header_bytes(self, shape: Shape, /) -> int:
        """Return eight bytes for tensor or channel."""
        return affine.header_bytes(shape, per_channel=self._per_channel)

    def parts(self, _header: memoryview, shape: Shape, /) -> tuple[Part, ...]:
        """Return one part."""
        return self.largest_parts(shape)

    def largest_parts(self, shape: Shape, /) -> tuple[Part, ...]:
        """Return one part."""
        return (Part(np.dtype(np.uint8), (math.prod(shape) + 1) // 2),)

    def read(self, header: memoryview, parts: tuple[Flat, ...], shape: Shape, /) -> npt.NDArray[np.float32]:
        """Return the array as float32."""
        pairs, count = parts[0], math.prod(shape)
        if count % 2 and pairs[-1] >> 4:
            raise RemoteProtocolError("tensor", "the half byte after the last element is not zero")
        grid = np.empty(count, np.uint8)
        np.bitwise_and(pairs, _LEVELS, out=grid[::2])
        np.right_shift(pairs[: count // 2], 4, out=grid[1::2])
        return affine.restore(header, grid, shape, per_channel=self._per_channel)
