"""Early exits: the device answers alone, and learns what its own work costs.

A run to exit e passes the trunk piece by piece and evaluates every head on its way, as early-exit inference
does; it stops at e. The last exit is the network's own end, so a network without heads has exactly one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bus.errors import ConfigurationError
from partition.backends.segments import Segments
from partition.graphs.counting import WorkCounter
from partition.graphs.graph import Graph
from partition.graphs.work import Work, no_work
from partition.networks.exit_heads import NEVER
from partition.networks.zoo import Exit


@dataclass(frozen=True, slots=True)
class Stage:
    """The way from one exit to the next.

    Attributes:
        start: the place of the previous exit's tap, or of the input.
        stop: the place of this exit's tap, or of the end.
        head: from the tap to logits; None at the network's own end.
        output: which of the tensors that the trunk gives goes on.
        work: int64 (6,), from the input to this exit's answer, heads on the way included.
        threshold: the confidence from which the exit may answer instead of the network; above 1 never.
    """

    start: int
    stop: int
    head: nn.Module | None
    output: int
    work: Work
    threshold: float = NEVER


def stages(graph: Graph, exits: tuple[Exit, ...], answer: int) -> tuple[Stage, ...]:
    """Return one stage per exit and one for the end.

    Args:
        graph: of the network.
        exits: in order.
        answer: which of the network's flat outputs the end answers with.

    Raises:
        ConfigurationError: if an exit does not sit where a single tensor crosses, or they are not in order.
    """
    made: list[Stage] = []
    heads_work = no_work()
    start = 0
    for each in exits:
        taps = [
            at
            for at, place in enumerate(graph.frontiers)
            if each.after in {*place.modules, *place.nodes} and len(place.tensors) == 1
        ]
        if not taps or taps[-1] <= start:
            raise ConfigurationError(
                f"no exit can follow {each.after!r}: one tensor must cross there, exits in order"
            )
        frontier = graph.frontiers[taps[-1]]
        with torch.inference_mode(mode=False), torch.no_grad(), WorkCounter() as counter:
            each.head(torch.zeros(frontier.tensors[0].shape))
        heads_work = heads_work + counter.work
        made.append(Stage(start, taps[-1], each.head, 0, frontier.work + heads_work, each.threshold))
        start = taps[-1]
    end = len(graph.frontiers) - 1
    output = graph.made(start, end).index(answer)
    return (*made, Stage(start, end, None, output, graph.work + heads_work))


def run(path: tuple[Stage, ...], segments: Segments, x: Tensor) -> Tensor:
    """Run along `path`, its trunk by what was chosen for it, and return the logits of its last stage."""
    logits = x
    for stage in path:
        x = segments.run(stage.start, stage.stop, x)[stage.output]
        logits = x if stage.head is None else stage.head(x)
    return logits
