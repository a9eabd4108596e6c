"""What crosses a cut as one payload: each tensor by the arm's codec, several of them one after another.

One tensor is the codec's bytes and nothing else. Of several, each one's length comes first, as uint32 little
endian; shapes and dtypes are not sent, since both sides know them from the cut.
"""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bus.errors import RemoteProtocolError
from bus.tensors import Payload
from partition.codecs.base import ALIGNMENT_BYTES, Codec, Encoded
from partition.graph import TensorSpec


def encode(codec: Codec, crossing: Sequence[Tensor]) -> Encoded:
    """Return the payload of the tensors that cross, and dtype and shape of the first.

    Raises:
        LocalProtocolError: as the codec, for values that it cannot write.
    """
    # The wire has C order, whatever the layout here.
    parts = [codec.encode(tensor.cpu().contiguous().numpy()) for tensor in crossing]
    if len(parts) == 1:
        return parts[0]
    lengths = struct.pack(f"<{len(parts)}I", *(part.payload_bytes for part in parts))
    return Encoded(b"".join((lengths, *(part.payload for part in parts))), parts[0].dtype, parts[0].shape)


def decode(codec: Codec, payload: Payload, dtype: str, specs: Sequence[TensorSpec]) -> tuple[Tensor, ...]:
    """Return what crosses, laid out as the whole network would have it.

    Raises:
        RemoteProtocolError: `tensor`, for bytes that are not what these specs need.
    """
    parts = [memoryview(payload)] if len(specs) == 1 else _split(memoryview(payload), len(specs))
    return tuple(
        _tensor(codec.decode(part, dtype, spec.shape), spec) for part, spec in zip(parts, specs, strict=True)
    )


def _split(data: memoryview, count: int) -> list[memoryview]:
    header = struct.Struct(f"<{count}I")
    if data.nbytes < header.size:
        raise RemoteProtocolError("tensor", f"{data.nbytes} bytes are too few for {count} tensors")
    lengths = header.unpack_from(data)
    if header.size + sum(lengths) != data.nbytes:
        raise RemoteProtocolError("tensor", f"{count} tensors of {lengths} bytes are not {data.nbytes} bytes")
    parts, start = [], header.size
    for length in lengths:
        parts.append(data[start : start + length])
        start += length
    return parts


def _tensor(array: npt.NDArray[Any], spec: TensorSpec) -> Tensor:
    """Return a decoded array as a tensor of aligned memory of its own; copies only where it must.

    torch takes writable memory only, and received bytes are neither writable nor aligned.
    """
    if not spec.contiguous:
        return spec.laid_out(torch.from_numpy(np.array(array, dtype=np.float32)))
    if array.flags.writeable and array.ctypes.data % ALIGNMENT_BYTES == 0:
        return torch.from_numpy(array)
    tensor = torch.empty(array.shape, dtype=torch.float32)
    np.copyto(tensor.numpy(), array)
    return tensor
