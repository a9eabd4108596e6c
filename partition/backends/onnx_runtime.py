"""ONNX Runtime: the piece as an ONNX model in a session of Microsoft's engine. Needs `cans[onnx]`.

Each session holds weights of its own, so a device or edge worker with many cuts takes that much more memory.
Exported by torch's TorchScript exporter, which takes a fifth of a second a piece where its successor takes
seconds; should torch drop it, `export` is where the other call goes.
"""

import importlib.util
import io
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from partition.backends.base import ROUNDING, Backend, Run, Tensors, run_piece
from partition.backends.sharing import copy_sharing

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"


class OnnxRuntime(Backend):
    """Runs the piece in an ONNX Runtime session.

    Args:
        threads: of a session; as torch's.
        device: "cpu" or "cuda", where torch runs; on cuda what crosses goes by way of the processor's memory.
    """

    name = "onnx"
    tolerance = ROUNDING

    def __init__(self, threads: int, device: str) -> None:
        self._threads = threads
        self._provider = _CUDA if device == "cuda" else _CPU

    def missing(self) -> str | None:
        """Say so where a package or the device's provider is not installed."""
        if any(importlib.util.find_spec(package) is None for package in ("onnx", "onnxruntime")):
            return "onnx and onnxruntime are not installed: install cans[onnx]"
        import onnxruntime  # noqa: PLC0415 - an optional extra

        if self._provider not in onnxruntime.get_available_providers():
            return "this onnxruntime has no CUDA provider: install onnxruntime-gpu"
        return None

    def prepare(self, piece: fx.GraphModule, example: Tensors) -> Run:
        """Export the piece and open a session on it."""
        return self.session(export(piece, example))

    def session(self, model: bytes) -> Run:
        """Return a session on the bytes of an ONNX model; it may be called from several threads."""
        import onnxruntime  # noqa: PLC0415 - an optional extra

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        # Thirty sessions would each keep an arena of their own; without them no run is slower.
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        session = onnxruntime.InferenceSession(model, options, providers=[self._provider])
        names = [each.name for each in session.get_inputs()]

        def run(*tensors: Tensor) -> Tensors:
            feeds: dict[str, Any] = {
                name: np.ascontiguousarray(tensor.cpu().numpy())
                for name, tensor in zip(names, tensors, strict=True)
            }
            device = tensors[0].device
            return tuple(torch.from_numpy(np.asarray(out)).to(device) for out in session.run(None, feeds))

        return run


class _Tuple(nn.Module):
    """The piece as the exporter takes it."""

    def __init__(self, piece: fx.GraphModule) -> None:
        super().__init__()
        self.piece = piece

    def forward(self, *tensors: Tensor) -> Tensors:
        return run_piece(self.piece, *tensors)


def export(piece: fx.GraphModule, example: Tensors) -> bytes:
    """Return the piece as an ONNX model with the example's shapes; an input that nothing reads stays."""
    target = io.BytesIO()
    # The exporter puts a module back into the mode it was in: a piece back in training would, at its next
    # run, write into the statistics of every cut's batch norms.
    exported = _Tuple(copy_sharing(piece)).eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that this exporter is the older one; see above
        torch.onnx.export(
            exported,
            example,
            target,  # type: ignore[arg-type] # torch's stub forgets files in memory
            dynamo=False,
            input_names=[f"crossing_{index}" for index in range(len(example))],
        )
    return target.getvalue()
