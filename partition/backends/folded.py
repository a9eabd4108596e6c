"""Batch norms folded into convolutions: the same arithmetic in fewer passes over memory."""

from functools import partial

from torch import fx

from partition.backends.base import ROUNDING, Backend, Run, Tensors, run_piece
from partition.backends.folding import fold
from partition.backends.sharing import Once


class Folded(Backend):
    """Runs the piece without its batch norms; the folded weights are one set for all cuts."""

    name = "folded"
    tolerance = ROUNDING

    def __init__(self, once: Once) -> None:
        self._once = once

    def missing(self) -> None:
        """Nothing."""

    def prepare(self, piece: fx.GraphModule, example: Tensors) -> Run:  # noqa: ARG002 - the interface's
        """Return the folded copy."""
        return partial(run_piece, fold(piece, self._once))
