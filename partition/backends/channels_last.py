"""Folded, and images laid out pixel by pixel: what the convolutions of oneDNN and cuDNN are quickest with.

What crosses stays laid out as ever, so that payloads mean the same to every party; turning it round at both
ends is part of what is timed.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, fx, nn

from partition.backends.base import ROUNDING, Backend, Run, Tensors, run_piece
from partition.backends.folding import CONVOLUTION_FUNCTIONS, fold
from partition.backends.sharing import Once, add_tensor, tensor_of


class ChannelsLast(Backend):
    """Runs the folded piece on tensors with the channel as the fastest axis."""

    name = "channels-last"
    tolerance = ROUNDING

    def __init__(self, once: Once) -> None:
        self._once = once

    def missing(self) -> None:
        """Nothing."""

    def prepare(self, piece: fx.GraphModule, example: Tensors) -> Run:  # noqa: ARG002 - the interface's
        """Return the folded copy with its kernels turned round, and with turns at both ends."""
        turned = turn_kernels(fold(piece, self._once), self._once)

        def run(*tensors: Tensor) -> Tensors:
            outputs = run_piece(turned, *(turn(tensor) for tensor in tensors))
            return tuple(output.contiguous() for output in outputs)

        return run


def turn(tensor: Tensor) -> Tensor:
    """Return an image batch channels-last; anything else as it is."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def turn_kernels(piece: fx.GraphModule, once: Once) -> fx.GraphModule:
    """Turn the kernels of two-dimensional convolutions round, in place of the piece's, and return it."""

    def turned(weight: Tensor) -> nn.Parameter:
        return once.get((weight,), lambda: (turn(weight.detach()),))[0]

    for module in piece.modules():
        if isinstance(module, nn.Conv2d):
            module.weight = turned(module.weight)
    for node, weight in list(_kernels(piece)):
        reader = add_tensor(piece, f"turned_{node.name}", turned(weight), node)
        node.args = (node.args[0], reader, *node.args[2:])
    piece.recompile()
    return piece


def _kernels(piece: fx.GraphModule) -> Iterator[tuple[fx.Node, Tensor]]:
    for node in piece.graph.nodes:
        if node.target in CONVOLUTION_FUNCTIONS and len(node.args) > 1:
            weight = tensor_of(piece, node.args[1])
            if weight is not None:
                yield node, weight
