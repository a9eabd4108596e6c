"""What can be said of any network: where it can be cut, what crosses, what lies before, is it exact."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from bus.errors import ConfigurationError
from partition.graphs.cuts import useful
from partition.graphs.example import Example
from partition.graphs.graph import Graph, TensorSpec
from partition.graphs.threads import torch_threads
from partition.graphs.tracing import call, copy_of, equal_bits, same_kernels
from partition.graphs.work import macs

# Told that so many of so many checks are done.
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Operator:
    """All calls of one operator: how many, and their multiply-accumulates."""

    name: str
    calls: int
    macs: int


@dataclass(frozen=True, slots=True)
class CutFound:
    """One place where the network can be cut.

    Attributes:
        index: 0 is the input, the last is the whole network on the device.
        after: the module or node that it follows.
        tensors: what crosses; the outputs at the end, which do not.
        nbytes: of all that crosses, raw; 0 at the end.
        macs: before the cut.
        useful: whether it can ever be best: see `partition.graphs.cuts`.
        exact: by batch size: whether head then tail gave the whole network's bits.
    """

    index: int
    after: str
    tensors: tuple[TensorSpec, ...]
    nbytes: int
    macs: int
    useful: bool
    exact: dict[int, bool]


@dataclass(frozen=True, slots=True)
class Survey:
    """A network, looked at.

    Attributes:
        how: "symbolic" or "export": see `partition.graphs.tracing`.
        nodes: of the graph.
        parameters: how many numbers.
        inputs, outputs: tensors.
        macs: of one call; macs_by_torch: as `torch.utils.flop_counter` has them, which knows fewer kernels.
        operators: those that do work, most first.
        cuts: in order.
        refused: by batch size, why the network cannot be called or traced so.
    """

    how: str
    nodes: int
    parameters: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    macs: int
    macs_by_torch: int
    operators: tuple[Operator, ...]
    cuts: tuple[CutFound, ...]
    refused: dict[int, str]

    @property
    def exact(self) -> bool:
        """Whether every cut was exact at every batch size that could be checked."""
        return all(all(cut.exact.values()) for cut in self.cuts)


def survey(
    module: nn.Module,
    example: Example,
    batches: tuple[int, ...] = (1, 8),
    on_progress: OnProgress | None = None,
    threads: int = 1,
) -> Survey:
    """Trace a network, find its cuts and check each one.

    Args:
        module: in eval mode.
        example: what to call it with.
        batches: first dimensions to check with; applies to inputs whose first dimension is 1.
        on_progress: told after each check.
        threads: of torch.

    Raises:
        ConfigurationError: one sentence why the network cannot be cut.
    """
    with torch_threads(threads):
        return _survey(module, example, batches, on_progress)


def _survey(
    module: nn.Module, example: Example, batches: tuple[int, ...], on_progress: OnProgress | None
) -> Survey:
    graph = Graph(module, example)
    exact: list[dict[int, bool]] = [{} for _ in graph.frontiers]
    refused: dict[int, str] = {}
    total = len(batches) * len(graph.frontiers)
    for turn, batch in enumerate(batches):
        for at, same in enumerate(_checked(graph, batch, refused)):
            exact[at][batch] = same
            if on_progress is not None:
                on_progress(turn * len(graph.frontiers) + at + 1, total)
    if batches and len(refused) == len(batches):
        raise ConfigurationError(refused[batches[0]])  # nothing was checked: that is no network cut exactly
    return Survey(
        how=graph.how,
        nodes=len(graph.node_work),
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        inputs=tuple(map(TensorSpec.of, example.tensors)),
        outputs=tuple(spec for _, spec in graph.returned),
        macs=macs(graph.work),
        macs_by_torch=_counted_by_torch(module, example),
        operators=_operators(graph),
        cuts=_cuts(graph, exact),
        refused=refused,
    )


def check(graph: Graph, example: Example) -> Iterator[bool]:
    """Yield for each frontier whether head, then memory, then tail gives the module's own bits.

    What crosses is copied into memory as a received message would be, with the layout that the tail expects.
    Useful cuts are run as they are. For the others that would be the network once more for each, so they are
    followed link by link: if no piece between neighbours gives other bits or another layout from copied
    tensors, no tail made of such pieces does.
    """
    last = len(graph.frontiers) - 1
    worth = _useful(graph)
    with torch.no_grad(), same_kernels():
        whole = _tensors(call(graph.module, copy_of(example)))
        links = _links(graph, copy_of(example).tensors)
        for place in range(last + 1):
            if place not in worth and all(links[place:]):
                yield True
                continue
            found = _tensors(graph.run_cut(place, copy_of(example).tensors, through_memory=True))
            yield len(found) == len(whole) and all(map(equal_bits, whole, found))


def _links(graph: Graph, inputs: Sequence[Tensor]) -> list[bool]:
    """Return for each piece between neighbours whether it computes the same from copies of its tensors."""
    same = []
    crossing = tuple(inputs)
    for place, frontier in enumerate(graph.frontiers[:-1]):
        piece = graph.piece(place, place + 1)
        copies = [spec.laid_out(tensor) for spec, tensor in zip(frontier.tensors, crossing, strict=True)]
        direct, copied = piece(*crossing), piece(*copies)
        same.append(
            all(
                equal_bits(one, other) and one.stride() == other.stride()
                for one, other in zip(direct, copied, strict=True)
            )
        )
        crossing = direct[: len(graph.frontiers[place + 1].tensors)]
    return same


def _checked(graph: Graph, batch: int, refused: dict[int, str]) -> Iterator[bool]:
    """Yield the checks at a batch size, of a graph of that size; none, with the reason, if there is none."""
    example = graph.example.with_batch(batch)
    try:
        sized = Graph(graph.module, example)
    except ConfigurationError as error:
        refused[batch] = str(error)
        return
    if len(sized.frontiers) != len(graph.frontiers):
        # torch may write another graph for another batch; its places are no longer those of the table.
        same = list(check(sized, example))
        refused[batch] = (
            f"with batch {batch} torch traces other operations: {len(same)} places instead of "
            f"{len(graph.frontiers)}, {'all' if all(same) else f'only {sum(same)} of them'} exact"
        )
        return
    yield from check(sized, example)


def _cuts(graph: Graph, exact: list[dict[int, bool]]) -> tuple[CutFound, ...]:
    last = len(graph.frontiers) - 1
    worth = _useful(graph)
    named = {0: "input", last: "end"}
    return tuple(
        CutFound(
            index=at,
            after=named.get(at) or (place.modules or place.nodes[-1:])[0],
            tensors=place.tensors,
            nbytes=0 if at == last else place.nbytes,
            macs=macs(place.work),
            useful=at in worth,
            exact=exact[at],
        )
        for at, place in enumerate(graph.frontiers)
    )


def _useful(graph: Graph) -> tuple[int, ...]:
    sent = [place.nbytes for place in graph.frontiers]
    return useful(sent, [macs(place.work) for place in graph.frontiers])


def _operators(graph: Graph) -> tuple[Operator, ...]:
    calls: dict[str, int] = {}
    done: dict[str, int] = {}
    for _, name, work in graph.operators:
        calls[name] = calls.get(name, 0) + 1
        done[name] = done.get(name, 0) + macs(work)
    rows = (Operator(name, calls[name], done[name]) for name in calls)
    return tuple(sorted(rows, key=lambda row: (-row.macs, row.name)))


def _counted_by_torch(module: nn.Module, example: Example) -> int:
    counter = FlopCounterMode(display=False)
    # It knows products, not the processor's fused attention; as mathematics, attention is products.
    with torch.no_grad(), same_kernels(), sdpa_kernel(SDPBackend.MATH), _no_gradients(module), counter:
        call(module, copy_of(example))
    # torch counts a multiplication and an addition as two.
    return int(counter.get_total_flops()) // 2


@contextmanager
def _no_gradients(module: nn.Module) -> Iterator[None]:
    """Let no parameter ask for a gradient: torch's counter fails on one handed straight to a submodule."""
    asking = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in asking:
        parameter.requires_grad_(False)  # torch's stub names it otherwise than torch
    try:
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_()


def _tensors(value: object) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]
