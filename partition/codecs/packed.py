"""A codec for activations: a number format, then a packer."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bus.errors import LocalProtocolError, RemoteProtocolError
from bus.tensors import MAX_DIMENSIONS, Payload, element_count
from partition.codecs.base import Encoded, Limits
from partition.codecs.formats import Format
from partition.codecs.packing import Packer


class Packed:
    """Payload: the format's header, then its parts, joined, shuffled, compressed."""

    encodes_frames = False
    encodes_activations = True

    def __init__(self, form: Format, packer: Packer) -> None:
        self.name = form.name + packer.suffix
        self.dtype = form.dtype
        self.lossless = form.lossless
        self._format = form
        self._packer = packer
        # Bytes an element, where every part has its largest size.
        item = sum(part.size for part in form.largest_parts((1, 1, 1000))) / 1000
        self.encode_work = round(form.encode_work + item * packer.encode_work, 2)
        self.decode_work = round(form.decode_work + item * packer.decode_work, 2)
        self.limits = Limits(
            form.limits.largest, form.limits.beyond, form.limits.expansion + item * packer.copies
        )

    def estimate(self, shape: tuple[int, ...]) -> int:
        """Return the size, or for a compressed or sparse payload the most it can be."""
        return self._format.header_bytes(shape) + self._packer.most(self._format.largest_parts(shape))

    def encode(self, array: npt.NDArray[Any]) -> Encoded:
        """Return the array written and packed.

        Raises:
            LocalProtocolError: no float32, no elements, too many dimensions, or values beyond `limits`.
        """
        if array.dtype != np.float32 or not array.size or not 1 <= array.ndim <= MAX_DIMENSIONS:
            raise LocalProtocolError(f"codec {self.name} takes float32, not {array.dtype} of {array.shape}")
        written = self._format.write(np.ascontiguousarray(array))
        return Encoded(self._packer.pack(written.header, written.parts), self.dtype, array.shape)

    def decode(self, payload: Payload, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Return the array as float32."""
        if dtype != self.dtype:
            raise RemoteProtocolError("tensor", f"codec {self.name} carries {self.dtype}, not {dtype[:32]}")
        element_count(shape)
        data = memoryview(payload)
        size = self._format.header_bytes(shape)
        if data.nbytes <= size:
            raise RemoteProtocolError("tensor", f"{data.nbytes} bytes are too few for {self.name}")
        header = data[:size]
        wanted = self._format.parts(header, shape)
        return self._format.read(header, self._packer.unpack(data[size:], wanted), shape)
