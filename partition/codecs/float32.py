"""Activations, or the normalised input, as they are."""

from typing import Any

import numpy.typing as npt

from bus.errors import RemoteProtocolError
from bus.tensors import Payload, buffer_of, view
from partition.codecs.base import Encoded


class Float32:
    """Four bytes an element, no loss, no copy."""

    name = "float32"
    dtype = "float32"
    encodes_frames = False
    encodes_activations = True
    lossless = True
    encode_work = 0.0
    decode_work = 0.2

    def encode(self, array: npt.NDArray[Any]) -> Encoded:
        """Return a view of the array's bytes."""
        return Encoded(buffer_of(array), self.dtype, array.shape)

    def decode(self, payload: Payload, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Return a view of the payload."""
        if dtype != self.dtype:
            raise RemoteProtocolError("tensor", f"codec {self.name} carries {self.dtype}, not {dtype[:32]}")
        return view(payload, dtype, shape)
