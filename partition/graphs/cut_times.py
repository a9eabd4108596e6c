"""What cutting costs any network: head and tail one after the other, against the network itself."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from partition.graphs.cuts import useful
from partition.graphs.example import Example
from partition.graphs.graph import Graph
from partition.graphs.tracing import call, same_kernels
from partition.graphs.work import macs


@dataclass(frozen=True, slots=True)
class CutTimes:
    """What was measured.

    Attributes:
        nodes: of the graph. traced_s: seconds that tracing and finding all cuts took.
        worst: the largest ratio of head and tail to the network itself over the useful cuts; medians of
            pairs that ran one after the other.
        weights: bytes of the distinct weights in the pieces of all cuts, over the network's own.
    """

    nodes: int
    traced_s: float
    worst: float
    weights: float


def measure(module: nn.Module, example: Example, *, rounds: int) -> CutTimes:
    """Trace a network and time every useful cut.

    Args:
        module: in eval mode.
        example: what to call it with.
        rounds: pairs of runs for each cut; 0 leaves `worst` at 0.

    Raises:
        ConfigurationError: as `Graph`.
    """
    began = time.perf_counter()
    graph = Graph(module, example)
    traced_s = time.perf_counter() - began
    places = graph.frontiers
    worth = useful([place.nbytes for place in places], [macs(place.work) for place in places])
    with torch.inference_mode(), same_kernels():
        worst = _worst(graph, worth[:-1], rounds) if rounds else 0.0
    return CutTimes(len(graph.node_work), traced_s, worst, _weights(graph))


def _worst(graph: Graph, chosen: Sequence[int], rounds: int) -> float:
    """Find the worst cut, then time it anew: the largest of many noisy ratios lies above each of them."""
    return _ratio(graph, max(chosen, key=lambda place: _ratio(graph, place, rounds)), 2 * rounds)


def _ratio(graph: Graph, place: int, rounds: int) -> float:
    inputs = graph.example.tensors
    pairs = []
    for turn in range(rounds + 2):
        runs = (lambda: call(graph.module, graph.example), lambda: graph.run_cut(place, inputs))
        times = [0.0, 0.0]
        # Which goes first alternates, so that neither always finds the caches warm.
        for which in (0, 1) if turn % 2 else (1, 0):
            began = time.perf_counter()
            runs[which]()
            times[which] = time.perf_counter() - began
        pairs.append(times)
    return statistics.median(cut / whole for whole, cut in pairs[2:])


def _weights(graph: Graph) -> float:
    """Return bytes of distinct storages in all pieces over the module's own."""
    last = len(graph.frontiers) - 1
    found: dict[int, int] = {}
    for place in range(last):
        for piece in (graph.piece(0, place), graph.piece(place, last)):
            for tensor in piece.state_dict(keep_vars=True).values():
                found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    own = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tensor in graph.module.state_dict(keep_vars=True).values()
    }
    ratio: float = sum(found.values()) / max(sum(own.values()), 1)
    return ratio
