"""Early exits: the device answers alone, and learns what its own work costs.

A run to exit e passes the trunk piece by piece and evaluates every head on its way, as early-exit inference
does; it stops at e. The last exit is the network's own end, so a network without heads has exactly one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bus.errors import ConfigurationError
from partition.counting import WorkCounter
from partition.exit_heads import NEVER
from partition.graph import Graph
from partition.work import Work, no_work
from partition.zoo import Exit


@dataclass(frozen=True, slots=True)
class Stage:
    """The way from one exit to the next.

    Attributes:
        trunk: from the previous exit's tap, or the input.
        head: from the tap to logits; None at the network's own end.
        work: int64 (6,), from the input to this exit's answer, heads on the way included.
        place: index of the frontier where it ends.
        threshold: the confidence from which the exit may answer instead of the network; above 1 never.
    """

    trunk: nn.Module
    head: nn.Module | None
    work: Work
    place: int
    threshold: float = NEVER


def stages(graph: Graph, exits: tuple[Exit, ...]) -> tuple[Stage, ...]:
    """Return one stage per exit and one for the end.

    Raises:
        ConfigurationError: if an exit does not sit where a single tensor crosses, or they are not in order.
    """
    made: list[Stage] = []
    heads_work = no_work()
    start = 0
    for each in exits:
        taps = [
            i
            for i, frontier in enumerate(graph.frontiers)
            if each.after in {*frontier.modules, frontier.node}
        ]
        if not taps or taps[-1] <= start:
            raise ConfigurationError(
                f"no exit can follow {each.after!r}: one tensor must cross there, exits in order"
            )
        frontier = graph.frontiers[taps[-1]]
        with torch.inference_mode(mode=False), torch.no_grad(), WorkCounter() as counter:
            each.head(torch.zeros(frontier.shape))
        heads_work = heads_work + counter.work
        made.append(
            Stage(
                graph.piece(start, taps[-1]), each.head, frontier.work + heads_work, taps[-1], each.threshold
            )
        )
        start = taps[-1]
    end = len(graph.frontiers) - 1
    return (*made, Stage(graph.piece(start, end), None, graph.work + heads_work, end))


def run(path: tuple[Stage, ...], x: Tensor) -> Tensor:
    """Run along `path` and return the logits of its last stage."""
    logits = x
    for stage in path:
        x = stage.trunk(x)
        logits = x if stage.head is None else stage.head(x)
    return logits
