"""Any dtype as it is: for the integers and masks that cross a cut beside activations."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from bus.errors import LocalProtocolError, RemoteProtocolError
from bus.tensors import DTYPES, MAX_DIMENSIONS, Payload, dtype_of, element_count, view
from partition.codecs.base import Encoded, Limits
from partition.codecs.formats import Part
from partition.codecs.packing import Packer


class Exact:
    """The item size an element, little endian, C order, no loss; no arm: it accompanies one."""

    dtype = "any"
    encodes_frames = False
    encodes_activations = False
    lossless = True

    def __init__(self, packer: Packer) -> None:
        self.name = f"exact{packer.suffix}"
        self._packer = packer
        self.encode_work = 8 * packer.encode_work
        self.decode_work = 0.2 + 8 * packer.decode_work
        self.limits = Limits(math.inf, "kept", 8.0 * packer.copies)

    def estimate(self, shape: tuple[int, ...]) -> int:
        """Return the most it can be, for a dtype of eight bytes."""
        return self._packer.most((Part(np.dtype("<i8"), math.prod(shape)),))

    def encode(self, array: npt.NDArray[Any]) -> Encoded:
        """Return the array packed.

        Raises:
            LocalProtocolError: a dtype that does not cross, no elements, or too many dimensions.
        """
        name = array.dtype.name
        if name not in DTYPES or not array.size or not 1 <= array.ndim <= MAX_DIMENSIONS:
            raise LocalProtocolError(f"codec {self.name} does not take {array.dtype} of {array.shape}")
        flat = np.ascontiguousarray(array).reshape(-1)
        return Encoded(self._packer.pack(b"", (flat,)), name, array.shape)

    def decode(self, payload: Payload, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Return the array, read-only; bfloat16 as its bits, uint16."""
        part = Part(dtype_of(dtype), element_count(shape))
        data = memoryview(payload)
        if not data.nbytes:
            raise RemoteProtocolError("tensor", f"no bytes are too few for {self.name}")
        (flat,) = self._packer.unpack(data, (part,))
        return view(flat.data.cast("B"), dtype, shape)
