"""The network as a graph that can be cut: its frontiers, what crosses them, and the pieces between them."""

import math
import operator
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from bus.errors import ConfigurationError
from bus.tensors import MAX_DIMENSIONS
from partition.graphs.counting import WorkCounter
from partition.graphs.example import Example
from partition.graphs.frontiers import Place, constants, not_dominated, places
from partition.graphs.tracing import Traced, same_kernels, trace
from partition.graphs.work import Work, no_work


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor that crosses.

    Attributes:
        shape: batch included.
        dtype: as numpy names it, or "bfloat16".
        strides: in elements, as the whole network has it: some kernels round by layout, so a tail is given
            the layout it would have met.
    """

    shape: tuple[int, ...]
    dtype: str
    strides: tuple[int, ...]

    @property
    def elements(self) -> int:
        """How many."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Raw bytes."""
        itemsize: int = getattr(torch, self.dtype).itemsize
        return self.elements * itemsize

    @property
    def wire_shape(self) -> tuple[int, ...]:
        """The shape as a message announces it: of at least one dimension, and of no more than it may have."""
        surplus = len(self.shape) - MAX_DIMENSIONS
        if surplus > 0:
            return (math.prod(self.shape[: surplus + 1]), *self.shape[surplus + 1 :])
        return self.shape or (1,)

    @property
    def contiguous(self) -> bool:
        """Whether elements lie in C order; overlapping ones, as of an expanded tensor, are sent so."""
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if size > 1 and stride == 0:
                return True
            if size > 1 and stride != expected:
                return False
            expected *= size
        return True

    def laid_out(self, tensor: Tensor) -> Tensor:
        """Return a copy of a tensor of this shape, laid out as the whole network would have it."""
        if self.contiguous:
            return tensor.clone(memory_format=torch.contiguous_format)
        return torch.empty_strided(self.shape, self.strides, dtype=tensor.dtype).copy_(tensor)

    @classmethod
    def of(cls, tensor: Tensor) -> "TensorSpec":
        """Describe a tensor."""
        return cls(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), tuple(tensor.stride()))


@dataclass(frozen=True, slots=True)
class Frontier:
    """A place where the network can be cut.

    Attributes:
        nodes: the names of the nodes that make what crosses; at the end, the outputs.
        boundary: nodes at positions <= boundary run before the cut.
        tensors: what crosses, as `nodes`.
        work: int64 (6,), all work before the cut.
        modules: the qualified names of the modules that end here.
    """

    nodes: tuple[str, ...]
    boundary: int
    tensors: tuple[TensorSpec, ...]
    work: Work
    modules: tuple[str, ...]

    @property
    def nbytes(self) -> int:
        """Raw bytes of all that crosses."""
        return sum(tensor.nbytes for tensor in self.tensors)


class Graph:
    """A traced network, its frontiers and its pieces; all pieces share the network's own weights.

    Args:
        module: in eval mode.
        example: what to call it with; fixes shapes.

    Attributes:
        frontiers: the input first, the end last.
        how: "symbolic" or "export": see `partition.graphs.tracing`.
        returned: the tensors that the network returns, with their positions among its flat outputs.
        node_work: int64 (6,) by node name.
        text: the graph in words, the same in every process.

    Raises:
        ConfigurationError: if the network cannot be traced, or has no place to be cut.
    """

    def __init__(self, module: nn.Module, example: Example) -> None:
        self.module = module
        self.example = example
        self._traced = trace(module, example)
        self.how = self._traced.how
        self._nodes: list[fx.Node] = list(self._traced.graph.nodes)
        self._constant = constants(self._traced.graph)
        self._position = {node: at for at, node in enumerate(self._nodes)}
        probe = _probe(self._traced, example)
        self.node_work = probe.work
        flat: Any = self._nodes[-1].args[0]
        self._returned: tuple[Any, ...] = tuple(flat) if isinstance(flat, list | tuple) else (flat,)
        self.returned = tuple(
            (at, probe.specs[value.name])
            for at, value in enumerate(self._returned)
            if isinstance(value, fx.Node) and value.name in probe.specs
        )
        self.frontiers = self._frontiers(probe)
        self.text = "\n".join(_line(node) for node in self._nodes)
        self._pieces: dict[tuple[int, int], fx.GraphModule] = {}
        self._lock = threading.Lock()

    @property
    def work(self) -> Work:
        """The work of the whole network, int64 (6,)."""
        return self.frontiers[-1].work

    @property
    def operators(self) -> list[tuple[str, str, Work]]:
        """Each node that does work: its name, its operator, int64 (6,)."""
        return [
            (node.name, _operator(node, self._traced.root), self.node_work[node.name])
            for node in self._nodes
            if node.name in self.node_work and self.node_work[node.name].any()
        ]

    def piece(self, start: int, stop: int) -> fx.GraphModule:
        """Return the compiled piece from frontier `start` to frontier `stop`, built on first use and kept.

        It takes the tensors that cross at `start`, one argument each, and returns a tuple: the tensors that
        cross at `stop` (none at the end), then those outputs of the network that it has made on its way.
        """
        with self._lock:
            key = (start, stop)
            if key not in self._pieces:
                self._pieces[key] = self._build(start, stop)
            return self._pieces[key]

    def made(self, start: int, stop: int) -> tuple[int, ...]:
        """Return which outputs of the network, by flat position, the piece from `start` to `stop` makes."""
        return tuple(
            at
            for at, value in enumerate(self._returned)
            if isinstance(value, fx.Node) and self._makes(value, start, stop)
        )

    def latest(self, outputs: Sequence[int]) -> int:
        """Return which of these outputs, by flat position, the network makes last."""
        return max(outputs, key=lambda at: self._position[self._returned[at]])

    def put_together(self, outputs: dict[int, Tensor]) -> Any:  # noqa: ANN401 - as the module returns it
        """Return what the module itself would return.

        Args:
            outputs: by flat position, from the pieces that made them.
        """
        flat = [outputs.get(at, value) for at, value in enumerate(self._returned)]
        return (
            flat[0] if self._traced.out_spec is None else pytree.tree_unflatten(flat, self._traced.out_spec)
        )

    def run_cut(  # the check of a cut, not the way a frame takes
        self, place: int, inputs: Sequence[Tensor], *, through_memory: bool = False
    ) -> Any:  # noqa: ANN401 - as above
        """Run head and tail in turn at a frontier and return what the module itself would.

        Args:
            place: index of the frontier.
            inputs: the flat tensors of one call.
            through_memory: copy what crosses, as a message would.
        """
        last = len(self.frontiers) - 1
        if place == last:
            found = dict(zip(self.made(0, last), self.piece(0, last)(*inputs), strict=True))
            return self.put_together(found)
        first = self.piece(0, place)(*inputs)
        crossing = len(self.frontiers[place].tensors)
        early = dict(zip(self.made(0, place), first[crossing:], strict=True))
        sent = first[:crossing]
        if through_memory:
            specs = self.frontiers[place].tensors
            sent = tuple(spec.laid_out(tensor.contiguous()) for spec, tensor in zip(specs, sent, strict=True))
        late = self.piece(place, last)(*sent)
        return self.put_together(early | dict(zip(self.made(place, last), late, strict=True)))

    def _makes(self, value: fx.Node, start: int, stop: int) -> bool:
        last = len(self.frontiers) - 1
        if value in self._constant:
            return stop == last
        after = -1 if start == 0 else self.frontiers[start].boundary
        return after < self._position[value] <= self.frontiers[stop].boundary

    def _frontiers(self, probe: "_Probe") -> tuple[Frontier, ...]:
        functional = self.how == "export"
        steady = {
            node: node.name in probe.specs and (functional or probe.untouched(node.name))
            for node in self._nodes
        }
        found = places(self._traced.graph, self._constant, steady)
        if len(found) < 2 or found[0].boundary != self._last_input():
            raise ConfigurationError(
                f"there is no place to cut {type(self.module).__name__}: no operation lies between what goes "
                "in and what comes out, or none of its inputs is a tensor"
            )
        whole = self._described(found, probe)
        kept = not_dominated([place.nbytes for place in whole], [len(place.tensors) for place in whole])
        return tuple(whole[at] for at in kept)

    def _last_input(self) -> int:
        return max(self._position[node] for node in self._nodes if node.op == "placeholder")

    def _described(self, found: list[Place], probe: "_Probe") -> list[Frontier]:
        described = []
        done, reached = no_work(), 0
        for place in found:
            for passed in self._nodes[reached : place.boundary + 1]:
                done = done + probe.work[passed.name]
            reached = place.boundary + 1
            names = tuple(node.name for node in place.nodes)
            tensors = tuple(probe.specs[name] for name in names if name in probe.specs)
            at = place.nodes[-1] if place.nodes else self._nodes[-2]
            described.append(Frontier(names, place.boundary, tensors, done, _ends(at)))
        return described

    def _build(self, start: int, stop: int) -> fx.GraphModule:
        first, last = self.frontiers[start], self.frontiers[stop]
        piece = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        named = {node.name: node for node in self._nodes}
        for number, name in enumerate(first.nodes):
            copies[named[name]] = piece.placeholder("x" if number == 0 else f"x{number}")
        for position, node in enumerate(self._nodes[:-1]):
            if node in copies:
                continue
            if node in self._constant or first.boundary < position <= last.boundary:
                copies[node] = piece.node_copy(node, lambda argument: copies[argument])
        crossing = () if stop == len(self.frontiers) - 1 else last.nodes
        made = self.made(start, stop)
        piece.output(
            tuple(copies[named[name]] for name in crossing) + tuple(copies[self._returned[at]] for at in made)
        )
        for node in reversed(self._nodes):
            # Constants were copied for either side; those that this side does not read go.
            if node in self._constant and node in copies and not copies[node].users:
                piece.erase_node(copies[node])
        return fx.GraphModule(_flat_root(self._traced.root, piece), piece)


class _Probe(fx.Interpreter):
    """Counts each node's work and describes its tensor; holds tensors to see later writes into them."""

    def __init__(self, traced: Traced, *, hold: bool) -> None:
        super().__init__(traced.root, graph=traced.graph)
        self.work: dict[str, Work] = {}
        self.specs: dict[str, TensorSpec] = {}
        self._hold = hold
        self._held: dict[str, tuple[Tensor, int]] = {}

    def run_node(self, n: fx.Node) -> Any:  # noqa: ANN401 - torch's signature
        """Run one node under the counter."""
        with WorkCounter() as counter:
            result = super().run_node(n)
        self.work[n.name] = counter.work
        if isinstance(result, Tensor) and result.layout == torch.strided and not result.is_complex():
            self.specs[n.name] = TensorSpec.of(result)
            if self._hold:
                self._held[n.name] = (result, result._version)  # noqa: SLF001 - counts in-place writes
        return result

    def untouched(self, name: str) -> bool:
        """Whether nothing wrote into the node's tensor after the node itself."""
        tensor, version = self._held[name]
        return tensor._version == version  # noqa: SLF001 - as above


def _flat_root(root: nn.Module, piece: fx.Graph) -> dict[str, Any]:
    """Return what the piece's nodes name, each under a name without dots, and name it so in the nodes.

    Each dot is a search through a module's dictionaries at every run: on MobileNetV2 they cost 3 %.
    """
    found: dict[str, Any] = {}
    names: dict[str, str] = {}
    for node in piece.nodes:
        if node.op in {"call_module", "get_attr"}:
            target = str(node.target)
            if target not in names:
                flat = target.replace(".", "_")
                names[target] = f"{flat}_{len(names)}" if flat in found or hasattr(nn.Module, flat) else flat
                found[names[target]] = operator.attrgetter(target)(root)
            node.target = names[target]
    return found


def _probe(traced: Traced, example: Example) -> _Probe:
    probe = _Probe(traced, hold=traced.how == "symbolic")
    # Inference tensors keep no count of writes, so leave that mode if the caller is in it.
    with torch.inference_mode(mode=False), torch.no_grad(), same_kernels():
        probe.run(*(tensor.clone() for tensor in example.tensors))
    return probe


def _operator(node: fx.Node, root: nn.Module) -> str:
    if node.op == "call_module":
        return type(root.get_submodule(str(node.target))).__name__
    return str(getattr(node.target, "__name__", node.target)).removesuffix(".default")


def _ends(node: fx.Node) -> tuple[str, ...]:
    """Return the modules whose last node this is: those its stack holds and the next node's does not."""
    own = _stack(node)
    following = _stack(node.next)
    return tuple(name for name in own if name not in following)


def _stack(node: fx.Node) -> list[str]:
    stack = (node.meta.get("nn_module_stack") or {}).values()
    return [str(name) for name, _ in stack if name]


def _line(node: fx.Node) -> str:
    """Return a node as text that is the same in every process: no addresses, no object ids."""
    target = node.target
    if isinstance(target, torch._ops.OpOverload):  # noqa: SLF001 - torch has no public name for it
        target = str(target)
    elif callable(target):
        target = f"{getattr(target, '__module__', '')}.{getattr(target, '__qualname__', target)}"
    return f"{node.name} = {node.op} {target} {node.args} {node.kwargs}"
