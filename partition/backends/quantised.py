"""Linear layers in int8, their inputs quantised as they come: smaller, quicker on some processors, not equal.

ONNX Runtime's dynamic quantisation of the exported piece. It loses precision, so nobody gets it unasked.
"""

import tempfile
from pathlib import Path

from torch import fx

from partition.backends.base import Run, Tensors
from partition.backends.onnx_runtime import OnnxRuntime, export


class Quantised(OnnxRuntime):
    """Runs the piece with the products of its linear layers in int8.

    Its tolerance only refuses what is broken; what it does to your answers is for you to measure.
    """

    name = "quantised"
    tolerance = 0.2

    def prepare(self, piece: fx.GraphModule, example: Tensors) -> Run:
        """Export, quantise, open a session."""
        from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415 - an optional extra
        from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415

        with tempfile.TemporaryDirectory() as folder:  # the quantiser reads and writes files
            plain, quantised = Path(folder) / "plain.onnx", Path(folder) / "int8.onnx"
            plain.write_bytes(export(piece, example))
            # The session optimises the graph itself; here it only learns its shapes.
            quant_pre_process(plain, plain, skip_optimization=True, skip_symbolic_shape=True)
            quantize_dynamic(
                plain, quantised, op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QInt8
            )
            return self.session(quantised.read_bytes())
