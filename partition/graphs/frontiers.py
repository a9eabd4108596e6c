"""Where a graph can be cut: the sets of tensors that cross, in one pass.

A value is alive from the node that makes it to the last one that reads it. What is alive after a node is a
frontier: all that the rest of the network needs to know. In any topological order each node is looked at
once, so finding all of them is linear in nodes and edges.

A frontier is no place to cut where a value that is no tensor is alive (a size, a tuple about to be unpacked),
or a tensor that a later node writes into: it is kept for the fallback, and may be the memory of a received
message.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import fx

# Beyond, what crosses is a state, not an activation: unrolled recurrences keep one tensor a step alive.
MOST_TENSORS = 8


@dataclass(frozen=True, slots=True)
class Place:
    """A frontier of a graph.

    Attributes:
        nodes: what makes the tensors that cross, in the order of the graph; none after the last node.
        boundary: nodes at positions <= boundary run before the cut.
    """

    nodes: tuple[fx.Node, ...]
    boundary: int


def places(graph: fx.Graph, constant: set[fx.Node], is_tensor: Mapping[fx.Node, bool]) -> list[Place]:
    """Return all frontiers of at most `MOST_TENSORS` tensors, input first, the end with its outputs last.

    Args:
        graph: its last node is the output.
        constant: nodes that depend on no input: either side makes its own.
        is_tensor: whether a node gives a tensor that stays as it is.
    """
    nodes = list(graph.nodes)
    position = {node: at for at, node in enumerate(nodes)}
    inputs = [node for node in nodes if node.op == "placeholder"]
    first = position[inputs[-1]]
    ending: list[list[fx.Node]] = [[] for _ in nodes]
    alive: dict[fx.Node, None] = {}
    found: list[Place] = []
    seen: set[tuple[fx.Node, ...]] = set()
    for at, node in enumerate(nodes[:-1]):
        readers = [position[user] for user in node.users if user.op != "output"]
        if node not in constant and readers and max(readers) > at:
            alive[node] = None
            ending[max(readers)].append(node)
        for gone in ending[at]:
            del alive[gone]
        if at < first:
            continue
        # A call has all its inputs, however many, and whether they are read or not.
        crossing = tuple(inputs if at == first else alive)
        if at > first and len(crossing) > MOST_TENSORS:
            continue
        if crossing and crossing not in seen and all(is_tensor.get(each, False) for each in crossing):
            found.append(Place(crossing, at))
            seen.add(crossing)
    outputs = tuple(node for node in _outputs(nodes[-1]) if isinstance(node, fx.Node))
    # Where the last tensor still crosses there is nothing left but to hand it over.
    while found and found[-1].boundary >= len(nodes) - 2:
        found.pop()
    return [*found, Place(outputs, len(nodes) - 2)]


def constants(graph: fx.Graph) -> set[fx.Node]:
    """Return the nodes that do not depend on the input: each side makes its own."""
    constant: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op not in {"placeholder", "output"} and all(n in constant for n in node.all_input_nodes):
            constant.add(node)
    return constant


def not_dominated(sent: Sequence[int], crossing: Sequence[int]) -> list[int]:
    """Return the places worth listing: all where one tensor crosses, the others only where they send less.

    A place after another does more work on the device; one of several tensors that sends no less than an
    earlier place is never better than it, nor than the end (`partition.graphs.cuts` has the argument).

    Args:
        sent: bytes at each place, input first, end last.
        crossing: how many tensors cross at each.
    """
    least = sent[0]
    kept = [0]
    for at in range(1, len(sent) - 1):
        if crossing[at] == 1 or sent[at] < least:
            kept.append(at)
        least = min(least, sent[at])
    return [*kept, len(sent) - 1]


def _outputs(output: fx.Node) -> Sequence[object]:
    flat = output.args[0]
    return flat if isinstance(flat, list | tuple) else (flat,)
