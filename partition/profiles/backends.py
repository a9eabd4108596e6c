"""Every backend against eager on head and tail of a network's middle cut: for benchmarks and for people."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import fx

from partition.backends import NAMES, make
from partition.backends.base import Backend, Run, Tensors, run_piece, taken_by
from partition.backends.choice import Choice, choose, time_in_turn
from partition.partitioned import PartitionedModel
from partition.preprocessing import normalise


@dataclass(frozen=True, slots=True)
class Measured:
    """One piece.

    Attributes:
        network: its name.
        side: "head" or "tail".
        cut: the name of the cut that bounds it.
        choice: every backend's figures, and which was kept.
        plain: the piece as it is.
        example: what was timed.
    """

    network: str
    side: str
    cut: str
    choice: Choice
    plain: Run
    example: Tensors

    def again(self, repeats: int) -> float:
        """Return eager's time over the kept backend's in new runs, which the choice has not seen."""
        runs = {"eager": self.plain, "kept": self.choice.run}
        with torch.inference_mode():
            times = time_in_turn(runs, self.example, repeats, math.inf)
        return min(times["eager"]) / min(times["kept"])


def all_backends(threads: int, names: Sequence[str] = NAMES) -> tuple[Backend, ...]:
    """Return those that run here, eager left out."""
    return make(",".join(names), threads=threads, required=False)


def measure(
    model: PartitionedModel, backends: Sequence[Backend], *, threads: int, repeats: int
) -> Iterator[Measured]:
    """Time both pieces beside the middle cut on a drawn frame.

    Args:
        model: on the processor or on cuda.
        backends: to be tried beside eager.
        threads: of torch, as the backends were made with.
        repeats: runs of each.
    """
    torch.set_num_threads(threads)
    end, middle = len(model.cuts) - 1, (len(model.cuts) - 1) // 2
    draw = np.random.default_rng(0)
    frames = draw.integers(0, 256, size=(2, *model.input_size, 3), dtype=np.uint8)
    with torch.inference_mode():
        inputs: list[Tensors] = [(normalise(frame).to(model.device),) for frame in frames]
        gave = [run_piece(_piece(model, 0, middle), *tensors) for tensors in inputs]
        crossing = [taken_by(_piece(model, middle, end), tensors) for tensors in gave]
        for side, pair, examples in (("head", (0, middle), inputs), ("tail", (middle, end), crossing)):
            choice = choose(_piece(model, *pair), examples, backends, repeats=repeats)
            yield Measured(
                model.name,
                side,
                model.cuts[middle].name,
                choice,
                partial(run_piece, _piece(model, *pair)),
                examples[0],
            )


def _piece(model: PartitionedModel, start: int, stop: int) -> fx.GraphModule:
    piece = model.piece(start, stop)
    assert isinstance(piece, fx.GraphModule)
    return piece
