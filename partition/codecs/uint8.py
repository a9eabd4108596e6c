"""The frame as it left the camera; the edge normalises it."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from bus.errors import LocalProtocolError, RemoteProtocolError
from bus.tensors import Payload, buffer_of, view
from partition.codecs.base import Encoded, Limits


class Uint8:
    """One byte a channel, no loss, no copy."""

    name = "uint8"
    dtype = "uint8"
    encodes_frames = True
    encodes_activations = False
    lossless = True
    encode_work = 0.0
    decode_work = 0.0
    limits = Limits(255.0, "kept", 0.0)

    def estimate(self, shape: tuple[int, ...]) -> int:
        """Return the size."""
        return math.prod(shape)

    def encode(self, array: npt.NDArray[Any]) -> Encoded:
        """Return a view of the frame's bytes."""
        if array.dtype != np.uint8 or not array.size:
            raise LocalProtocolError(f"codec {self.name} takes uint8, not {array.dtype} of {array.shape}")
        return Encoded(buffer_of(array), self.dtype, array.shape)

    def decode(self, payload: Payload, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Return a view of the payload."""
        if dtype != self.dtype:
            raise RemoteProtocolError("tensor", f"codec {self.name} carries {self.dtype}, not {dtype[:32]}")
        return view(payload, dtype, shape)
