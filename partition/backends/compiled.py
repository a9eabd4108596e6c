"""torch.compile: C++ written for this piece and this processor, once folded. Seconds to minutes a piece.

So it is offered only on request, and not in `auto`.
"""

import os
import shutil
import warnings
from functools import partial

import torch
from torch import fx

from partition.backends.base import ROUNDING, Backend, Run, Tensors, run_piece
from partition.backends.folding import fold
from partition.backends.sharing import Once

# Inductor's own list, after what CXX says.
_COMPILERS = ("g++", "clang++")


class Compiled(Backend):
    """Runs what torch's inductor makes of the folded piece."""

    name = "compiled"
    tolerance = ROUNDING

    def __init__(self, once: Once) -> None:
        self._once = once

    def missing(self) -> str | None:
        """Say so where there is no C++ compiler."""
        wanted = [os.environ["CXX"]] if os.environ.get("CXX") else list(_COMPILERS)
        if any(shutil.which(compiler) for compiler in wanted):
            return None
        return f"there is no C++ compiler here ({' or '.join(wanted)}): install one, or name it in CXX"

    def prepare(self, piece: fx.GraphModule, example: Tensors) -> Run:
        """Compile for the example's shapes."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own deprecations, and its advice on matrix products
            compiled = torch.compile(partial(run_piece, fold(piece, self._once)), dynamic=False)
            compiled(*example)
        return compiled
