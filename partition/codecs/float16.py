"""Activations at half precision (IEEE 754 binary16)."""

import numpy as np
import numpy.typing as npt
import torch

from partition.codecs.base import Limits
from partition.codecs.formats import Flat, Shape, Whole, Written, clipped

_LARGEST = float(np.finfo(np.float16).max)


class Float16(Whole):
    """Two bytes an element; values beyond +-65504 are clipped to it; about 3 decimal digits."""

    name = "float16"
    dtype = "float16"
    lossless = False
    encode_work = 0.1
    decode_work = 0.2
    # A copy of two bytes and the result.
    limits = Limits(_LARGEST, "clipped", 6.0)

    def __init__(self) -> None:
        super().__init__("<f2")

    def write(self, array: npt.NDArray[np.float32]) -> Written:
        """Return the array rounded to half precision."""
        half = clipped(array, _LARGEST).half()
        return Written(b"", (half.numpy(),))

    def read(self, _header: memoryview, parts: tuple[Flat, ...], shape: Shape, /) -> npt.NDArray[np.float32]:
        """Return the array as float32."""
        # A writable copy for torch, whose conversion is several times faster than numpy's.
        array: npt.NDArray[np.float32] = torch.from_numpy(parts[0].copy()).float().numpy()
        return array.reshape(shape)
