"""Only what is not zero: a bit for every element, then the others in a format of their own.

For activations after a rectifier, half zeros or more. Header: their number, uint32, little endian, then the
header of the values' format. Bits lie as numpy's `packbits` with the first element lowest.
"""

import math
import struct

import numpy as np
import numpy.typing as npt

from bus.errors import RemoteProtocolError
from partition.codecs.base import Limits, empty_aligned
from partition.codecs.formats import Flat, Format, Part, Shape, Written

_COUNT = struct.Struct("<I")
_BITS = np.dtype(np.uint8)


class Sparse:
    """One bit an element, and what the format takes for each that is not zero; zeros are exact."""

    encode_work = 1.0
    decode_work = 1.9

    def __init__(self, values: Format) -> None:
        self.name = f"sparse-{values.name}"
        self.dtype = values.dtype
        self.lossless = values.lossless
        self._values = values
        self.encode_work = type(self).encode_work + values.encode_work
        self.decode_work = type(self).decode_work + values.decode_work
        # The bits one by one, and the result, beside what the values need.
        expansion = 5.25 + values.limits.expansion
        self.limits = Limits(values.limits.largest, values.limits.beyond, expansion)

    def write(self, array: npt.NDArray[np.float32]) -> Written:
        """Return bits and values; minus zero counts as a value, so that no bit is lost."""
        flat = array.reshape(-1)
        kept = flat.view(np.uint32) != 0
        values = flat[kept]
        bits = np.packbits(kept, bitorder="little")
        if not values.size:
            # Nothing to write, but the header has one length.
            return Written(bytes(self.header_bytes(array.shape)), (bits,))
        written = self._values.write(values)
        return Written(_COUNT.pack(values.size) + written.header, (bits, *written.parts))

    def header_bytes(self, _shape: Shape, /) -> int:
        """Return four bytes and the header of a vector."""
        return _COUNT.size + self._values.header_bytes((1,))

    def parts(self, header: memoryview, shape: Shape, /) -> tuple[Part, ...]:
        """Return the bits and the values."""
        (kept,) = _COUNT.unpack_from(header)
        count = math.prod(shape)
        if kept > count:
            raise RemoteProtocolError("tensor", f"{kept} values for {count} elements")
        bits = Part(_BITS, (count + 7) // 8)
        return (bits, *self._values.parts(header[_COUNT.size :], (kept,))) if kept else (bits,)

    def largest_parts(self, shape: Shape, /) -> tuple[Part, ...]:
        """Return the parts of an array without a zero."""
        count = math.prod(shape)
        return Part(_BITS, (count + 7) // 8), *self._values.largest_parts((count,))

    def read(self, header: memoryview, parts: tuple[Flat, ...], shape: Shape, /) -> npt.NDArray[np.float32]:
        """Return the array as float32."""
        (kept,) = _COUNT.unpack_from(header)
        if int(np.bitwise_count(parts[0]).sum(dtype=np.int64)) != kept:
            raise RemoteProtocolError("tensor", f"the bits do not mark {kept} elements")
        array = empty_aligned(shape)
        array[...] = 0.0
        if kept:
            flat = array.reshape(-1)
            marked = np.unpackbits(parts[0], count=flat.size, bitorder="little").view(np.bool_)
            if np.count_nonzero(marked) != kept:
                raise RemoteProtocolError("tensor", "bits are set after the last element")
            flat[marked] = self._values.read(header[_COUNT.size :], parts[1:], (kept,))
        return array
