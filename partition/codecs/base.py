"""What a codec is.

A codec turns an array into bytes and back. What it decodes came from a peer: whatever is wrong with it
raises `RemoteProtocolError`, and no decoder allocates more than the announced shape, itself bounded, allows.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from bus.tensors import Payload

# torch and MKL choose their paths by alignment; the same alignment on both sides gives the same bits.
ALIGNMENT_BYTES = 64


@dataclass(frozen=True, slots=True)
class Encoded:
    """What crosses.

    Attributes:
        payload: the bytes; may look into the array that was encoded, which must then stay as it is.
        dtype: the name of the dtype on the wire.
        shape: of the array that decoding gives.
    """

    payload: Payload
    dtype: str
    shape: tuple[int, ...]

    @property
    def payload_bytes(self) -> int:
        """The size of the payload."""
        return memoryview(self.payload).nbytes


@dataclass(frozen=True, slots=True)
class Limits:
    """What a codec can hold, and what decoding may cost.

    Attributes:
        largest: the largest magnitude that a value may have.
        beyond: what happens to larger ones, infinity included: "kept", "clipped" to `largest`, or "refused"
            by `encode` with `LocalProtocolError`, then NaN too.
        expansion: bytes that decoding allocates per announced element at most, the result included, whatever
            the payload; 0 where the result is a view of the payload.
    """

    largest: float
    beyond: Literal["kept", "clipped", "refused"]
    expansion: float


class Described(Protocol):
    """What is said of one way to write numbers; the half that a codec and a number format share.

    Attributes:
        name: as in an arm's label.
        dtype: on the wire; "any" if a codec carries every dtype of `bus.tensors`.
        lossless: reading gives the same bits.
        encode_work: cost of writing one element, relative to int8 + zstd; the scale of the context column.
        decode_work: cost of reading one element, relative to int8 + zstd.
        limits: what it can hold.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - see the class
    @property
    def dtype(self) -> str: ...  # noqa: D102
    @property
    def lossless(self) -> bool: ...  # noqa: D102
    @property
    def encode_work(self) -> float: ...  # noqa: D102
    @property
    def decode_work(self) -> float: ...  # noqa: D102
    @property
    def limits(self) -> Limits: ...  # noqa: D102


class Codec(Described, Protocol):
    """One way to write an array; without state, so any thread may use it.

    Attributes:
        encodes_frames: it takes the uint8 frame, before normalisation.
        encodes_activations: it takes float32 activations.
    """

    @property
    def encodes_frames(self) -> bool: ...  # noqa: D102 - see the class
    @property
    def encodes_activations(self) -> bool: ...  # noqa: D102

    def estimate(self, shape: tuple[int, ...]) -> int:
        """Return the bytes to expect for an array of that shape, before any is measured.

        The size itself where content does not change it, else an upper bound; for JPEG and lossy WebP, whose
        bound says nothing, the mean of photographs.
        """
        ...

    def encode(self, array: npt.NDArray[Any]) -> Encoded:
        """Return the array as bytes.

        Raises:
            LocalProtocolError: an array of no elements, of a dtype the codec is not for, or beyond `limits`.
        """
        ...

    def decode(self, payload: Payload, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Return the array; it may be a read-only view of the payload.

        Raises:
            RemoteProtocolError: whatever is wrong with dtype, shape or bytes.
        """
        ...


def empty_aligned(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return an uninitialised float32 array whose memory torch can take over as it is."""
    count = math.prod(shape)
    memory = np.empty(count * 4 + ALIGNMENT_BYTES, dtype=np.uint8)
    start = -memory.ctypes.data % ALIGNMENT_BYTES
    return memory[start : start + count * 4].view(np.float32).reshape(shape)
