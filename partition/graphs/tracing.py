"""From any module to a graph of tensors: `trace`.

Two ways, one result. `torch.fx` reads the module by calling it with stand-ins: it takes milliseconds, keeps
whole layers as nodes and gives the same graph under every version of torch, so a hash over it lasts. Where
it cannot follow (several inputs, dictionaries, shapes that steer Python), `torch.export` does: seconds,
operators as nodes, in-place operations made functional. Either graph is held against the module itself, to
the bit, before anyone may use it.
"""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from bus.errors import ConfigurationError
from partition.graphs.example import Example
from partition.graphs.places import function_in, place_of
from partition.graphs.quiet import quiet

# While torch.fx traces, every call of any module in the process goes through the tracer.
_TRACING = threading.Lock()


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """A module as a graph.

    Attributes:
        root: what the graph's `get_attr` and `call_module` nodes name; its tensors are the module's own.
        graph: placeholders are the tensors of `Example.tensors`, in order; the output is a flat tuple.
        how: which of the two ways.
        out_spec: how torch puts the flat outputs together; None for one plain tensor.
    """

    root: nn.Module
    graph: fx.Graph
    how: Literal["symbolic", "export"]
    out_spec: pytree.TreeSpec | None


def trace(module: nn.Module, example: Example) -> Traced:
    """Return the module as a graph, checked against it.

    Args:
        module: in eval mode.
        example: what to call it with; the graph holds for these shapes, the symbolic one often for others.

    Raises:
        ConfigurationError: one sentence: it cannot be called with the example, answers twice differently,
            or cannot be traced, with module, file and line where that is known.
    """
    # Inference tensors keep no count of writes, so leave that mode if the caller is in it.
    with _TRACING, torch.inference_mode(mode=False), torch.no_grad(), same_kernels():
        expected = _call_twice(module, example)
        symbolic = _symbolic(module, example)
        if symbolic is not None and _same(_run(symbolic, example.tensors), expected):
            return symbolic
        exported = _export(module, example)
        same = _same(_run(exported, example.tensors), expected)
    if not same:
        raise ConfigurationError(
            f"{_name(module)} computes other numbers once traced: something in it depends on more than its "
            "inputs (a counter, a cache, a random draw); make forward a function of its arguments"
        )
    return exported


def _run(traced: Traced, inputs: tuple[Tensor, ...]) -> tuple[Any, ...]:
    """Run the graph on flat inputs; returns the flat outputs."""
    own = [tensor.clone() for tensor in inputs]  # a graph may write into what it is given
    outputs = fx.GraphModule(traced.root, traced.graph)(*own)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def call(module: nn.Module, example: Example) -> Any:  # noqa: ANN401 - whatever the module returns
    """Call the module itself, without gradients."""
    with torch.no_grad():
        return module(*example.args, **example.kwargs)


@contextmanager
def same_kernels() -> Iterator[None]:
    """Keep torch's fused attention, which only eager modules take, out of the way of equal bits."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(value=False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


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


def _symbolic(module: nn.Module, example: Example) -> Traced | None:
    """Return the graph that `torch.fx` reads, for a module from one tensor to one tensor; else None."""
    if len(example.args) != 1 or example.kwargs or not isinstance(example.args[0], Tensor):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = _Tracer().trace(module)
            if sum(node.op == "placeholder" for node in graph.nodes) != 1:
                return None
            traced = Traced(module, graph, "symbolic", None)
            if not isinstance(list(graph.nodes)[-1].args[0], fx.Node) or _unfit(traced, example):
                return None
    except Exception:  # noqa: BLE001 - stand-ins break user code in any way; export sees the real thing
        return None
    return traced


def _unfit(traced: Traced, example: Example) -> bool:
    """Whether the graph writes into its input, or a number that was read (a size) lives on for long."""
    kinds: dict[fx.Node, bool] = {}

    class _Kinds(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:  # noqa: ANN401 - torch's signature
            result = super().run_node(n)
            kinds[n] = isinstance(result, Tensor)
            return result

    inputs = copy_of(example).tensors
    before = [tensor._version for tensor in inputs]  # noqa: SLF001 - counts in-place writes
    _Kinds(traced.root, graph=traced.graph).run(*inputs)
    if [tensor._version for tensor in inputs] != before:  # noqa: SLF001 - as above
        return True  # what is written into could never cross; the exporter makes it functional
    position = {node: at for at, node in enumerate(traced.graph.nodes)}
    # A number read and used at once blocks no place; one that lives on through the network blocks most.
    return any(
        position[user] - position[node] > _NEARBY
        for node, is_tensor in kinds.items()
        if not is_tensor
        for user in node.users
        if user.op != "output"
    )


# Nodes between reading a size and using it, in the way people write `x.view(x.size(0), -1)`.
_NEARBY = 4


def _export(module: nn.Module, example: Example) -> Traced:
    try:
        with quiet():
            program = torch.export.export(module, example.args, example.kwargs, strict=False)
            program = program.run_decompositions({})
            functional = program.module(check_guards=False)
    except Exception as error:  # noqa: BLE001 - the exporter raises anything
        raise ConfigurationError(_why_not(module, error, example)) from None
    return from_program(functional, program.call_spec.out_spec)


def from_program(functional: nn.Module, out_spec: pytree.TreeSpec | None) -> Traced:
    """Return the graph of an exported program's module, its inputs and outputs flat."""
    assert isinstance(functional, fx.GraphModule)
    graph = functional.graph
    graph.set_codegen(fx.graph.CodeGen())
    for node in list(graph.nodes):
        # Arguments that are no tensors were baked in, and guards say so; neither computes anything.
        guard = node.op == "call_module" and str(node.target).startswith("_guards")
        if guard or (node.op in {"placeholder", "get_attr"} and not node.users and _no_tensor(node)):
            graph.erase_node(node)
    _drop_write_backs(graph)
    _drop_copies(graph)
    outputs = list(graph.nodes)[-1]
    flat = outputs.args[0]
    outputs.args = (tuple(flat) if isinstance(flat, list | tuple) else (flat,),)
    graph.lint()
    return Traced(functional, graph, "export", out_spec)


def _drop_write_backs(graph: fx.Graph) -> None:
    """Take out what export adds where a module writes into inputs or buffers: answers need none of it."""
    for node in list(graph.nodes):
        if node.target is torch.ops.aten.copy_.default and node.args[0].op in {"placeholder", "get_attr"}:
            node.replace_all_uses_with(node.args[1])
            graph.erase_node(node)


def _drop_copies(graph: fx.Graph) -> None:
    """Take out copies that change no layout, left where dropout was: nothing writes into either tensor."""
    for node in list(graph.nodes):
        if node.target is torch.ops.aten.clone.default and not node.kwargs:
            copied = node.args[0]
            before, after = copied.meta.get("val"), node.meta.get("val")
            if isinstance(before, Tensor) and isinstance(after, Tensor) and before.stride() == after.stride():
                node.replace_all_uses_with(copied)
                graph.erase_node(node)


def _no_tensor(node: fx.Node) -> bool:
    return node.op == "get_attr" or not isinstance(node.meta.get("val"), Tensor)


def _call_twice(module: nn.Module, example: Example) -> tuple[Any, ...]:
    """Return the module's flat outputs, after seeing that they are the same each time."""
    try:
        first, second = (pytree.tree_leaves(call(module, copy_of(example))) for _ in range(2))
    except Exception as error:  # noqa: BLE001 - it is the user's code
        raise ConfigurationError(
            f"{_name(module)} cannot be called with {_shapes(example)}: {_first_line(error)}"
            f"{place_of(error, module)}; give inputs as its forward expects them{_batch_hint(example)}"
        ) from None
    if not any(isinstance(leaf, Tensor) for leaf in first):
        raise ConfigurationError(f"{_name(module)} returns no tensor, so there is nothing to answer with")
    if not _same(tuple(first), tuple(second)):
        raise ConfigurationError(
            f"{_name(module)} answers the same input with other numbers each time: it is not deterministic "
            "in eval mode (dropout by function, noise, a cache); a cut could not be checked"
        )
    return tuple(first)


def _batch_hint(example: Example) -> str:
    """Return what to say to somebody who left the batch out of an image's shape."""
    shapes = [tuple(tensor.shape) for tensor in example.tensors]
    if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][0] not in {1, 3}:
        return ""
    return f", an image as a batch of one: 1x{'x'.join(map(str, shapes[0]))}"


def copy_of(example: Example) -> Example:
    """Return the example with tensors of its own, since a module may write into its input."""
    args, kwargs = pytree.tree_map(
        lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, (example.args, example.kwargs)
    )
    return Example(args, kwargs, example.fixed)


def _same(left: tuple[Any, ...], right: tuple[Any, ...]) -> bool:
    """Whether flat outputs agree to the bit, NaN included."""
    mine = [leaf for leaf in left if isinstance(leaf, Tensor)]
    theirs = [leaf for leaf in right if isinstance(leaf, Tensor)]
    return len(mine) == len(theirs) and all(map(equal_bits, mine, theirs))


def equal_bits(left: Tensor, right: Tensor) -> bool:
    """Whether two tensors agree in shape, dtype and every bit (but for the sign of NaN)."""
    return (
        left.shape == right.shape
        and left.dtype == right.dtype
        and bool(torch.equal(torch.nan_to_num(left), torch.nan_to_num(right)))
        and bool(torch.equal(left != left, right != right))  # noqa: PLR0124 - NaN alone differs from itself
    )


def _why_not(module: nn.Module, error: Exception, example: Example) -> str:
    """Return one sentence for a failed export."""
    text = str(error)
    name, place = _name(module), place_of(error, module)
    kind = type(error).__name__
    if "data-dependent" in text or "DataDependent" in kind or "control flow" in text:
        return (
            f"{name} decides by the content of a tensor{place}: such a branch cannot be cut; compute both "
            "sides and torch.where, or wrap the part before it as a network of its own"
        )
    if (
        "no fake impl" in text
        or "register_fake" in text
        or "Unsupported operator" in text
        or "meta kernel" in text
        or "UnsupportedOperator" in kind
    ):
        return (
            f"{name} calls an operator that torch cannot follow{place}: {_first_line(error)}; register a "
            "fake implementation (torch.library.register_fake) or replace it"
        )
    function = "" if place else function_in(module, lambda: call(module, copy_of(example)))
    if function:
        return (
            f"{name} cannot be traced: {_first_line(error)}; torch names no line, but it calls the "
            f"autograd.Function{function}: in eval mode use plain operators there, or wrap the part before it"
        )
    what = "rewrite that line" if place else "torch names no line: make forward plainer"
    return f"{name} cannot be traced{place}: {_first_line(error)}; {what}, or wrap the part before it"


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Advice that refers to what follows is of no use alone: the first sentence says what is wrong.
    first = lines[0].split(". ")[0] if lines else type(error).__name__
    return first[:200].rstrip(".")


def _shapes(example: Example) -> str:
    said = [
        f"{'x'.join(map(str, t.shape)) or 'scalar'}:{str(t.dtype).removeprefix('torch.')}"
        for t in example.tensors
    ]
    return ", ".join(said) or "no tensors"


def _name(module: nn.Module) -> str:
    return "the network" if isinstance(module, fx.GraphModule) else type(module).__name__
