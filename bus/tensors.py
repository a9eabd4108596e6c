"""Tensors as buffers: which dtypes and shapes may cross, and views of received bytes.

No copy is made here, and nothing is ever allocated by a size that a peer announced.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from bus.errors import RemoteProtocolError

Payload = bytes | bytearray | memoryview

# No object dtype, ever: it is how a tensor format comes to execute what it reads.
DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(name)
    for name in (
        "float32",
        "float16",
        "int8",
        "uint8",
        "float64",
        "int64",
        "int32",
        "int16",
        "bool",
        "uint16",
    )
}
# numpy has no bfloat16: its bits, the upper half of a float32's, are carried as unsigned integers.
DTYPES["bfloat16"] = np.dtype("uint16")
MAX_DIMENSIONS = 6
# 16 Mi elements is 64 MiB as float32: above every activation of the networks served here.
MAX_ELEMENTS = 16 * 1024 * 1024


def element_count(shape: tuple[int, ...]) -> int:
    """Return the number of elements of an announced shape.

    Raises:
        RemoteProtocolError: `tensor`, if the shape is empty, too deep, too large or has a size < 1.
    """
    if not 1 <= len(shape) <= MAX_DIMENSIONS or any(size < 1 for size in shape):
        raise RemoteProtocolError("tensor", f"a shape needs 1 to {MAX_DIMENSIONS} sizes >= 1, got {shape}")
    # math.prod of Python integers cannot overflow, so a huge shape cannot pose as a small one.
    count = math.prod(shape)
    if count > MAX_ELEMENTS:
        raise RemoteProtocolError("tensor", f"{count} elements are over the limit of {MAX_ELEMENTS}")
    return count


def dtype_of(name: str) -> np.dtype[Any]:
    """Return the dtype of that name.

    Raises:
        RemoteProtocolError: `tensor`, if the name is not in `DTYPES`.
    """
    try:
        return DTYPES[name]
    except KeyError:
        raise RemoteProtocolError(
            "tensor", f"dtype {name[:32]!r} is not one of {', '.join(DTYPES)}"
        ) from None


def view(payload: Payload, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return received bytes as a read-only array, without a copy.

    Args:
        payload: the bytes, C order, little endian.
        dtype: a name in `DTYPES`.
        shape: the announced shape.

    Raises:
        RemoteProtocolError: `tensor`, unless bytes = shape x item size, and 0 or 1 for each bool.
    """
    kind = dtype_of(dtype)
    expected = element_count(shape) * kind.itemsize
    got = memoryview(payload).nbytes
    if got != expected:
        raise RemoteProtocolError("tensor", f"{dtype} of shape {shape} is {expected} bytes, got {got}")
    array = np.frombuffer(payload, dtype=kind).reshape(shape)
    # Another byte would be a bool that is neither true nor false, on which compiled code may do anything.
    if kind == np.bool_ and array.view(np.uint8).max() > 1:
        raise RemoteProtocolError("tensor", "a bool must be 0 or 1")
    array.flags.writeable = False
    return array


def buffer_of(array: npt.NDArray[Any]) -> memoryview:
    """Return an array's bytes; copies only if the array is not contiguous."""
    return np.ascontiguousarray(array).data.cast("B")
