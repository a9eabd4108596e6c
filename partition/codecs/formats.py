"""What a number format is: the first half of a codec for activations; `packing` is the second.

A format writes a float32 array as a short header and a few flat arrays, its parts. The packer turns the parts
into bytes. Before it gives them back, the format says from header and announced shape how large they must be:
so nothing is unpacked whose size is not known.
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from partition.codecs.base import Described

Flat = npt.NDArray[Any]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """An array as a format writes it.

    Attributes:
        header: never compressed.
        parts: flat arrays, C contiguous.
    """

    header: bytes
    parts: tuple[Flat, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """The dtype and number of items that a part must have."""

    dtype: np.dtype[Any]
    items: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.items * self.dtype.itemsize


class Format(Described, Protocol):
    """One way to write float32 numbers, described without the packing that follows; without state."""

    def write(self, array: npt.NDArray[np.float32]) -> Written:
        """Return a contiguous array, of at least one element, written.

        Raises:
            LocalProtocolError: values beyond `limits`.
        """
        ...

    def header_bytes(self, shape: Shape, /) -> int:
        """Return the size of the header for that shape."""
        ...

    def parts(self, header: memoryview, shape: Shape, /) -> tuple[Part, ...]:
        """Return what the parts must be; `header` has `header_bytes`.

        Raises:
            RemoteProtocolError: the header cannot be right.
        """
        ...

    def largest_parts(self, shape: Shape, /) -> tuple[Part, ...]:
        """Return the parts at their largest."""
        ...

    def read(self, header: memoryview, parts: tuple[Flat, ...], shape: Shape, /) -> npt.NDArray[np.float32]:
        """Return the array; it may be a view of a part.

        Raises:
            RemoteProtocolError: header or parts cannot be right.
        """
        ...


class Whole:
    """The half of a format that has no header and writes each element as one item."""

    def __init__(self, item: str) -> None:
        self._item = np.dtype(item)

    def header_bytes(self, _shape: Shape, /) -> int:
        """Return 0."""
        return 0

    def parts(self, _header: memoryview, shape: Shape, /) -> tuple[Part, ...]:
        """Return one part."""
        return self.largest_parts(shape)

    def largest_parts(self, shape: Shape, /) -> tuple[Part, ...]:
        """Return one part."""
        return (Part(self._item, math.prod(shape)),)


def tensor_of(array: npt.NDArray[Any]) -> torch.Tensor:
    """Return a contiguous array as a tensor; read-only memory, which torch does not take, is copied."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def clipped(array: npt.NDArray[np.float32], largest: float) -> torch.Tensor:
    """Return all elements, flat, none beyond +-`largest`: rounded, it would become an infinity."""
    return tensor_of(array.reshape(-1)).clamp(-largest, largest)
