"""Which frontiers of a network's graph become cuts, and which of its outputs is the answer."""

from collections.abc import Sequence

from bus.errors import ConfigurationError
from partition.arms import Cut
from partition.bundle import crosses
from partition.graphs.cuts import useful
from partition.graphs.graph import Frontier, Graph
from partition.graphs.work import macs


def answering(graph: Graph) -> int:
    """Return which flat output is the answer: of rows of classes, else of all floats, the one made last.

    Raises:
        ConfigurationError: no output is of floating-point numbers.
    """
    floats = [at for at, spec in graph.returned if spec.dtype.startswith(("float", "bfloat"))]
    rows = [at for at, spec in graph.returned if at in floats and len(spec.shape) == 2 and spec.shape[0] == 1]
    if not floats:
        raise ConfigurationError(
            f"{type(graph.module).__name__} returns no floating-point tensor: it gives no answer to compare"
        )
    return graph.latest(rows or floats)


def offered(graph: Graph, answer: int) -> tuple[int, ...]:
    """Return the frontiers that become cuts: useful, of tensors that codecs write, before the answer."""
    last = len(graph.frontiers) - 1
    able = [
        at
        for at, place in enumerate(graph.frontiers)
        if at in {0, last} or (all(map(crosses, place.tensors)) and answer in graph.made(at, last))
    ]
    places = [graph.frontiers[at] for at in able]
    chosen = useful([place.nbytes for place in places], [macs(place.work) for place in places])
    return tuple(able[at] for at in chosen)


def cuts_of(frontiers: Sequence[Frontier]) -> tuple[Cut, ...]:
    """Return the cuts that stand for frontiers, the input and the end among them, in their order."""
    last = len(frontiers) - 1
    names = {0: "input", last: "end"}
    return tuple(
        Cut(i, names.get(i) or (f.modules or f.nodes)[0], f.tensors) for i, f in enumerate(frontiers)
    )
