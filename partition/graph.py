"""The network as a graph: where a single tensor crosses, and the pieces between such places.

Linear in nodes and edges: a value is live from the node that makes it to the last one that reads it;
where exactly one live value remains, the graph can be cut. In any topological order this finds every node
that all paths from input to output pass through, because each other node comes before or after such a one.

What a frontier must never be: a tensor that a later node writes into. It is kept for the fallback, and may
be the memory of a received message.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from bus.errors import ConfigurationError
from partition.counting import WorkCounter
from partition.work import Work, no_work

# While torch.fx traces, every call of any module in the process goes through the tracer.
_TRACING = threading.Lock()


class _Tracer(fx.Tracer):
    """Traces what its own thread calls; what another thread runs meanwhile is none of its business."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:  # noqa: ANN401 - as in torch
        """As torch's; only its own thread's modules are traced."""
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)


@dataclass(frozen=True, slots=True)
class Frontier:
    """A place where one tensor crosses.

    Attributes:
        node: the name of the node that makes the tensor.
        boundary: nodes at positions <= boundary run before the cut.
        shape: of the tensor, batch included.
        dtype: of the tensor, as numpy names it.
        work: int64 (6,), all work before the cut.
        modules: the qualified names of the modules that the node ends.
    """

    node: str
    boundary: int
    shape: tuple[int, ...]
    dtype: str
    work: Work
    modules: tuple[str, ...]


class Graph:
    """A traced network, its frontiers and its pieces; all pieces share the network's own weights.

    Args:
        module: in eval mode; its forward takes one tensor and returns one tensor.
        input_shape: batch included.

    Raises:
        ConfigurationError: if the network cannot be traced, or has more than one input or output.
    """

    def __init__(self, module: nn.Module, input_shape: tuple[int, ...]) -> None:
        self.module = module
        self.input_shape = input_shape
        try:
            with _TRACING:
                self._graph = _Tracer().trace(module)
        except (fx.proxy.TraceError, TypeError, ValueError) as error:
            raise ConfigurationError(f"torch.fx cannot trace {type(module).__name__}: {error}") from None
        self._nodes = list(self._graph.nodes)
        if sum(node.op == "placeholder" for node in self._nodes) != 1:
            raise ConfigurationError(f"{type(module).__name__} must take exactly one tensor")
        self._output = self._nodes[-1].args[0]
        if not isinstance(self._output, fx.Node):
            raise ConfigurationError(f"{type(module).__name__} must return exactly one tensor")
        self._constant = _constants(self._nodes)
        self._pieces: dict[tuple[int, int], fx.GraphModule] = {}
        self._lock = threading.Lock()
        self.frontiers = self._measure(_single_live(self._nodes, self._constant))
        self.text = "\n".join(_line(node) for node in self._nodes)

    @property
    def work(self) -> Work:
        """The work of the whole network, int64 (6,)."""
        return self.frontiers[-1].work

    def piece(self, start: int, stop: int) -> fx.GraphModule:
        """Return the compiled piece from frontier `start` to frontier `stop`, built on first use and kept."""
        with self._lock:
            key = (start, stop)
            if key not in self._pieces:
                self._pieces[key] = self._build(self.frontiers[start], self.frontiers[stop])
            return self._pieces[key]

    def _measure(self, places: list[tuple[fx.Node, int]]) -> tuple[Frontier, ...]:
        """Run the network once on zeros; return the places where a tensor crosses that stays as it is."""
        probe = _Probe(self.module, self._graph, {node.name for node, _ in places})
        # Inference tensors keep no count of writes, so leave that mode if the caller is in it.
        with torch.inference_mode(mode=False), torch.no_grad():
            probe.run(torch.zeros(self.input_shape))
        found = []
        done, reached = no_work(), 0
        for node, boundary in places:
            for passed in self._nodes[reached : boundary + 1]:
                done = done + probe.work[passed.name]
            reached = boundary + 1
            tensor, version = probe.kept.get(node.name, (None, -1))
            if tensor is not None and tensor._version == version:  # noqa: SLF001 - counts in-place writes
                dtype = str(tensor.dtype).removeprefix("torch.")
                found.append(Frontier(node.name, boundary, tuple(tensor.shape), dtype, done, _ends(node)))
        if not found or found[-1].node != self._output.name or found[0].boundary != 0:
            raise ConfigurationError(
                f"{type(self.module).__name__} writes into its input or returns no tensor"
            )
        return tuple(found)

    def _build(self, start: Frontier, stop: Frontier) -> fx.GraphModule:
        piece = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        for position, node in enumerate(self._nodes):
            if node.name == start.node:
                copies[node] = piece.placeholder("x")
            elif node in self._constant or start.boundary < position <= stop.boundary:
                copies[node] = piece.node_copy(node, lambda argument: copies[argument])
        piece.output(next(copies[node] for node in copies if node.name == stop.node))
        for node in reversed(self._nodes):
            # Constants were copied for either side; those that this side does not read go.
            if node in self._constant and not copies[node].users:
                piece.erase_node(copies[node])
        return fx.GraphModule(self.module, piece)


class _Probe(fx.Interpreter):
    """Counts each node's work and keeps the tensors of interest with their count of in-place writes."""

    def __init__(self, module: nn.Module, graph: fx.Graph, wanted: set[str]) -> None:
        super().__init__(module, graph=graph)
        self.work: dict[str, Work] = {}
        self.kept: dict[str, tuple[Tensor, int]] = {}
        self._wanted = wanted

    def run_node(self, n: fx.Node) -> Any:  # noqa: ANN401 - torch's signature
        """Run one node under the counter."""
        with WorkCounter() as counter:
            result = super().run_node(n)
        self.work[n.name] = counter.work
        if n.name in self._wanted and isinstance(result, Tensor):
            self.kept[n.name] = (result, result._version)  # noqa: SLF001 - counts in-place writes
        return result


def _constants(nodes: list[fx.Node]) -> set[fx.Node]:
    """Return the nodes that do not depend on the input: each side makes its own."""
    constant: set[fx.Node] = set()
    for node in nodes:
        if node.op not in {"placeholder", "output"} and all(n in constant for n in node.all_input_nodes):
            constant.add(node)
    return constant


def _single_live(nodes: list[fx.Node], constant: set[fx.Node]) -> list[tuple[fx.Node, int]]:
    """Return (node, boundary) wherever exactly one value that depends on the input is live."""
    position = {node: index for index, node in enumerate(nodes)}
    dying: list[list[fx.Node]] = [[] for _ in nodes]
    live: set[fx.Node] = set()
    found: list[tuple[fx.Node, int]] = []
    for index, node in enumerate(nodes[:-1]):
        if node not in constant and node.users:
            live.add(node)
            dying[max(position[user] for user in node.users)].append(node)
        live.difference_update(dying[index])
        if len(live) == 1:
            (only,) = live
            if not found or found[-1][0] is not only:
                found.append((only, index))
    return found


def _ends(node: fx.Node) -> tuple[str, ...]:
    """Return the modules whose last node this is: those its stack holds and the next node's does not."""
    own = _stack(node)
    following = _stack(node.next)
    return tuple(name for name in own if name not in following)


def _stack(node: fx.Node) -> list[str]:
    return [str(name) for name, _ in (node.meta.get("nn_module_stack") or {}).values()]


def _line(node: fx.Node) -> str:
    """Return a node as text that is the same in every process: no addresses, no object ids."""
    target = node.target
    if callable(target):
        target = f"{getattr(target, '__module__', '')}.{getattr(target, '__qualname__', target)}"
    return f"{node.name} = {node.op} {target} {node.args} {node.kwargs}"
