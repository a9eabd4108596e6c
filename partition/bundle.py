"""What crosses a cut as one payload: each tensor by the arm's codec, several of them one after another.

One tensor is the codec's bytes and nothing else. Of several, each one's length comes first, as uint32 little
endian; shapes and dtypes are not sent, since both sides know them from the cut. A codec writes float32; what
crosses beside it (indices, masks, halves) goes without loss.
"""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bus.errors import RemoteProtocolError
from bus.tensors import DTYPES, Payload
from partition.codecs import Codec, resolve
from partition.codecs.base import ALIGNMENT_BYTES, Encoded
from partition.graphs.graph import TensorSpec

_EXACT = resolve("exact-zstd1")
# numpy has no bfloat16: its bits cross.
_BITS = {"bfloat16": "uint16"}


def crosses(spec: TensorSpec) -> bool:
    """Whether a tensor can be written at all."""
    return _BITS.get(spec.dtype, spec.dtype) in DTYPES and spec.elements > 0


def encode(codec: Codec, crossing: Sequence[Tensor]) -> Encoded:
    """Return the payload of the tensors that cross, and dtype and shape of the first.

    Raises:
        LocalProtocolError: as the codec, for values that it cannot write.
    """
    parts = [_codec_of(codec, TensorSpec.of(tensor)).encode(_array(tensor)) for tensor in crossing]
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
        _decode_part(codec, part, dtype if at == 0 else None, spec)
        for at, (part, spec) in enumerate(zip(parts, specs, strict=True))
    )


def _codec_of(codec: Codec, spec: TensorSpec) -> Codec:
    return codec if spec.dtype == "float32" else _EXACT


def _decode_part(codec: Codec, part: memoryview, announced: str | None, spec: TensorSpec) -> Tensor:
    if spec.dtype == "float32":
        return _tensor(codec.decode(part, announced or codec.dtype, spec.wire_shape), spec)
    dtype = _BITS.get(spec.dtype, spec.dtype)
    if announced not in {None, dtype}:
        raise RemoteProtocolError("tensor", f"dtype {str(announced)[:32]} where {dtype} crosses")
    array = _EXACT.decode(part, dtype, spec.wire_shape)
    tensor = torch.from_numpy(np.array(array)).view(getattr(torch, spec.dtype))
    return spec.laid_out(tensor.reshape(spec.shape))


def _array(tensor: Tensor) -> npt.NDArray[Any]:
    """Return what a codec takes: C order, whatever the layout here, and a shape that the wire knows."""
    spec = TensorSpec.of(tensor)
    plain = tensor.cpu().contiguous().reshape(spec.wire_shape)
    bits = _BITS.get(spec.dtype)
    return (plain if bits is None else plain.view(getattr(torch, bits))).numpy()


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
        return spec.laid_out(torch.from_numpy(np.array(array, dtype=np.float32)).reshape(spec.shape))
    if array.flags.writeable and array.ctypes.data % ALIGNMENT_BYTES == 0:
        return torch.from_numpy(array).reshape(spec.shape)
    tensor = torch.empty(array.shape, dtype=torch.float32)
    np.copyto(tensor.numpy(), array)
    return tensor.reshape(spec.shape)
