"""The piece as torch.fx made it: always there, equal to the bit, what every other backend is held against."""

from functools import partial

from torch import fx

from partition.backends.base import Backend, Run, Tensors, run_piece


class Eager(Backend):
    """Runs each operator as the network's author wrote it."""

    name = "eager"
    tolerance = 0.0

    def missing(self) -> None:
        """Nothing."""

    def prepare(self, piece: fx.GraphModule, example: Tensors) -> Run:  # noqa: ARG002 - the interface's
        """Return the piece itself."""
        return partial(run_piece, piece)
