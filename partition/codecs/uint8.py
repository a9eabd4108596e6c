"""The frame as it left the camera; the edge normalises it."""

from typing import Any

import numpy.typing as npt

from bus.errors import RemoteProtocolError
from bus.tensors import Payload, buffer_of, view
from partition.codecs.base import Encoded


class Uint8:
    """One byte a channel, no loss, no copy."""

    name = "uint8"
    dtype = "uint8"
    encodes_frames = True
    encodes_activations = False
    lossless = True
    encode_work = 0.0
    decode_work = 0.0

    def encode(self, array: npt.NDArray[Any]) -> Encoded:
        """Return a view of the frame's bytes."""
        return Encoded(buffer_of(array), self.dtype, array.shape)

    def decode(self, payload: Payload, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Return a view of the payload."""
        if dtype != self.dtype:
            raise RemoteProtocolError("tensor", f"codec {self.name} carries {self.dtype}, not {dtype[:32]}")
        return view(payload, dtype, shape)
