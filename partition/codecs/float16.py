"""Activations at half precision."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bus.errors import RemoteProtocolError
from bus.tensors import Payload, buffer_of, view
from partition.codecs.base import Encoded

_LARGEST = float(np.finfo(np.float16).max)


class Float16:
    """Two bytes an element; values beyond +-65504 are clipped to it."""

    name = "float16"
    dtype = "float16"
    encodes_frames = False
    encodes_activations = True
    lossless = False
    encode_work = 0.1
    decode_work = 0.2

    def encode(self, array: npt.NDArray[Any]) -> Encoded:
        """Return the array rounded to half precision."""
        # Clipping first: an overflow would become an infinity, which the edge refuses.
        half = torch.from_numpy(array).clamp(-_LARGEST, _LARGEST).half().numpy()
        return Encoded(buffer_of(half), self.dtype, array.shape)

    def decode(self, payload: Payload, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Return the array as float32."""
        if dtype != self.dtype:
            raise RemoteProtocolError("tensor", f"codec {self.name} carries {self.dtype}, not {dtype[:32]}")
        # A writable copy for torch, whose conversion is several times faster than numpy's.
        half = view(payload, dtype, shape).copy()
        return torch.from_numpy(half).float().numpy()
