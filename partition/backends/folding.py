"""Batch norms folded into the convolutions before them.

In eval mode a batch norm is affine in each channel: gamma (W * x + b - mean) / sqrt(variance + eps) + beta
is one convolution, with gamma / sqrt(variance + eps) in its weights (Jacob et al. 2018, section 3.2). Both
forms that tracing gives are folded: modules, and the functions of torch.export with a network's own tensors.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from partition.backends.sharing import Once, add_tensor, copy_sharing, tensor_of

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# (x, weight, bias, stride, ...) and (x, gamma, beta, mean, variance, training, momentum, eps, cudnn).
_ATEN = torch.ops.aten
CONVOLUTION_FUNCTIONS = (_ATEN.conv1d.default, _ATEN.conv2d.default, _ATEN.conv3d.default)
_NORM_FUNCTION = _ATEN.batch_norm.default


@dataclass(frozen=True, slots=True)
class _Norm:
    """A batch norm's tensors, one number a channel each, and its epsilon."""

    gamma: Tensor | None
    beta: Tensor | None
    mean: Tensor
    variance: Tensor
    epsilon: float


def fold(piece: fx.GraphModule, once: Once) -> fx.GraphModule:
    """Return a copy without the batch norms that alone read a convolution; it shares all other tensors."""
    folded = copy_sharing(piece)
    for node in list(folded.graph.nodes):
        before = node.args[0] if node.args else None
        if isinstance(before, fx.Node) and len(before.users) == 1:
            norm = _norm_of(folded, node)
            if norm is not None and _fold_into(folded, before, norm, once):
                node.replace_all_uses_with(before)
                folded.graph.erase_node(node)
    for node in reversed(list(folded.graph.nodes)):
        if node.op == "get_attr" and not node.users:
            folded.graph.erase_node(node)
    folded.delete_all_unused_submodules()
    folded.recompile()
    return folded


def _norm_of(folded: fx.GraphModule, node: fx.Node) -> _Norm | None:
    """Return what a node normalises with, None if it is no batch norm of fixed statistics."""
    if node.op == "call_module":
        module = folded.get_submodule(str(node.target))
        if isinstance(module, _NORMS) and module.running_mean is not None and module.running_var is not None:
            return _Norm(module.weight, module.bias, module.running_mean, module.running_var, module.eps)
        return None
    if node.target is not _NORM_FUNCTION or node.kwargs or node.args[5] is not False:
        return None
    gamma, beta, mean, variance = (tensor_of(folded, argument) for argument in node.args[1:5])
    unread = any(
        argument is not None and tensor is None
        for argument, tensor in zip(node.args[1:5], (gamma, beta, mean, variance), strict=True)
    )
    if unread or mean is None or variance is None:
        return None
    return _Norm(gamma, beta, mean, variance, float(node.args[7]))  # type: ignore[arg-type] # aten's schema


def _fold_into(folded: fx.GraphModule, node: fx.Node, norm: _Norm, once: Once) -> bool:
    """Change the weights of a convolution so that it gives what the norm would; False if it is none."""
    if node.op == "call_module":
        module = folded.get_submodule(str(node.target))
        shared = sum(other.target == node.target for other in folded.graph.nodes) > 1
        if shared or not isinstance(module, CONVOLUTIONS):
            return False
        module.weight, module.bias = _folded(module.weight, module.bias, norm, once)
        return True
    if node.target not in CONVOLUTION_FUNCTIONS or node.kwargs:
        return False
    weight, bias = tensor_of(folded, node.args[1]), None
    if len(node.args) > 2 and node.args[2] is not None:
        bias = tensor_of(folded, node.args[2])
        if bias is None:
            return False
    if weight is None:
        return False
    made = _folded(weight, bias, norm, once)
    readers = [
        add_tensor(folded, f"folded_{node.name}_{part}", tensor, node)
        for part, tensor in zip(("weight", "bias"), made, strict=True)
    ]
    node.args = (node.args[0], *readers, *node.args[3:])
    return True


def _folded(
    weight: Tensor, bias: Tensor | None, norm: _Norm, once: Once
) -> tuple[nn.Parameter, nn.Parameter]:
    def make() -> tuple[Tensor, ...]:
        made = fuse_conv_bn_weights(
            weight, bias, norm.mean, norm.variance, norm.epsilon, norm.gamma, norm.beta
        )
        return made[0].detach(), made[1].detach()

    made = once.get((weight, bias, norm.gamma, norm.beta, norm.mean, norm.variance), make)
    return made[0], made[1]
