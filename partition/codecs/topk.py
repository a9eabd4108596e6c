"""The largest magnitudes only; the others become zero.

Parts: the distance of each kept element from the one before, uint32, the first from the start of the array;
then the values in a format of their own. How many are kept follows from the shape.
"""

import math

import numpy as np
import numpy.typing as npt

from bus.errors import LocalProtocolError, RemoteProtocolError
from partition.codecs.base import Limits, empty_aligned
from partition.codecs.formats import Flat, Format, Part, Shape, Written

_LARGEST = float(np.finfo(np.float32).max)
_DISTANCE = np.dtype("<u4")


class TopK:
    """Keeps `percent` of the elements, at least one: four bytes each, and what the format takes."""

    # The numbers of small shares; ordering takes six times that for half of an array with many equal values.
    encode_work = 0.8
    decode_work = 0.3

    def __init__(self, percent: int, values: Format) -> None:
        self.name = f"topk{percent}-{values.name}"
        self.dtype = values.dtype
        self.lossless = False
        self._percent = percent
        self._values = values
        self.encode_work = type(self).encode_work + values.encode_work * percent / 100
        self.decode_work = type(self).decode_work + (2.0 + values.decode_work) * percent / 100
        # The result; indices as int64, their distances, and what the values need.
        expansion = 4.0 + (17.0 + values.limits.expansion) * percent / 100
        # Order has no place for NaN, whatever the format of the values; so infinity is refused too.
        self.limits = Limits(min(values.limits.largest, _LARGEST), "refused", expansion)

    def write(self, array: npt.NDArray[np.float32]) -> Written:
        """Return distances and values.

        Raises:
            LocalProtocolError: if the array holds NaN, infinity, or values beyond the format's largest.
        """
        flat = array.reshape(-1)
        if not (flat.min() >= -self.limits.largest and flat.max() <= self.limits.largest):
            raise LocalProtocolError("an activation with NaN, infinity or too large a value is not ranked")
        kept = self._kept(array.shape)
        marked = np.zeros(flat.size, np.bool_)
        marked[np.argpartition(np.abs(flat), flat.size - kept)[flat.size - kept :]] = True
        order = np.flatnonzero(marked)
        written = self._values.write(flat[order])
        return Written(written.header, (np.diff(order, prepend=0).astype(_DISTANCE), *written.parts))

    def header_bytes(self, _shape: Shape, /) -> int:
        """Return the size of a vector's header."""
        return self._values.header_bytes((1,))

    def parts(self, header: memoryview, shape: Shape, /) -> tuple[Part, ...]:
        """Return distances and values."""
        kept = self._kept(shape)
        return Part(_DISTANCE, kept), *self._values.parts(header, (kept,))

    def largest_parts(self, shape: Shape, /) -> tuple[Part, ...]:
        """Return distances and values."""
        kept = self._kept(shape)
        return Part(_DISTANCE, kept), *self._values.largest_parts((kept,))

    def read(self, header: memoryview, parts: tuple[Flat, ...], shape: Shape, /) -> npt.NDArray[np.float32]:
        """Return the array as float32."""
        order = parts[0].cumsum(dtype=np.int64)
        # Distances are not negative, so the last index is the largest.
        if not parts[0][1:].all() or order[-1] >= math.prod(shape):
            raise RemoteProtocolError("tensor", "the indices do not rise within the array")
        array = empty_aligned(shape)
        array[...] = 0.0
        array.reshape(-1)[order] = self._values.read(header, parts[1:], order.shape)
        return array

    def _kept(self, shape: Shape) -> int:
        return math.ceil(math.prod(shape) * self._percent / 100)
