"""Copies of a piece that share its tensors, and tensors made from them once a network.

The pieces of all cuts share one set of weights; what a backend makes of those weights has to be shared in the
same way, or thirty cuts would hold thirty folded networks.
"""

import copy
from collections.abc import Callable

from torch import Tensor, fx, nn

Sources = tuple[Tensor | None, ...]


class Once:
    """Tensors made from a network's own, each once however many pieces ask for it."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, ...], tuple[Sources, tuple[nn.Parameter, ...]]] = {}

    def get(self, sources: Sources, make: Callable[[], tuple[Tensor, ...]]) -> tuple[nn.Parameter, ...]:
        """Return what was made of these very tensors, or make it."""
        key = tuple(id(source) for source in sources)
        if key not in self._made:
            made = tuple(nn.Parameter(tensor, requires_grad=False) for tensor in make())
            # The sources stay alive, so that no other tensor gets the id of one.
            self._made[key] = (sources, made)
        return self._made[key][1]


def copy_sharing(piece: fx.GraphModule) -> fx.GraphModule:
    """Return a copy with a graph and modules of its own and the very tensors of the piece."""
    tensors: list[Tensor] = [*piece.parameters(), *piece.buffers()]
    for module in piece.modules():
        tensors += [value for value in vars(module).values() if isinstance(value, Tensor)]
    copied: fx.GraphModule = copy.deepcopy(piece, {id(tensor): tensor for tensor in tensors})
    return copied


def tensor_of(piece: fx.GraphModule, node: object) -> Tensor | None:
    """Return the tensor that a get_attr node reads, None for anything else."""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return None
    value: object = piece
    for name in str(node.target).split("."):
        value = getattr(value, name)
    return value if isinstance(value, Tensor) else None


def add_tensor(piece: fx.GraphModule, name: str, tensor: nn.Parameter, before: fx.Node) -> fx.Node:
    """Put a tensor into the piece and return the node that reads it."""
    piece.register_parameter(name, tensor)
    with piece.graph.inserting_before(before):
        return piece.graph.get_attr(name)
