"""What a backend is: a way of running a piece of a network that gives what the piece gives, sooner.

It must never change the piece it is given, nor any weight of it: the piece stays what the others are held
against, and its weights are every other cut's too.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, fx

Tensors = tuple[Tensor, ...]
# One tensor in for each that crosses before the piece, all that cross behind it out.
Run = Callable[..., Tensors]

# Largest difference of any element over the largest magnitude of the tensor it stands in. Folding and another
# order of summation move float32 by some 1e-6; what differs by more is not the same function.
ROUNDING = 1e-5


class Backend(Protocol):
    """One way of running pieces; made for one network, so it may keep what its pieces share.

    Attributes:
        name: as a person asks for it.
        tolerance: largest relative difference to the piece itself that it may have; 0 is equal to the bit.
    """

    name: str
    tolerance: float

    @property
    def exact(self) -> bool:
        """Whether what it gives is equal to the bit."""
        return self.tolerance == 0.0

    def missing(self) -> str | None:
        """Return what this machine lacks to run it, as half a sentence; None when nothing."""
        ...

    def prepare(self, piece: fx.GraphModule, example: Tensors) -> Run:
        """Return the piece, ready to run; may take seconds.

        Args:
            piece: in eval mode; left as it is, and its tensors may be shared with what is returned.
            example: what it takes, of the shapes and on the device it will always have.

        Raises:
            Exception: whatever the library under it raises for a piece it cannot run.
        """
        ...


def run_piece(piece: fx.GraphModule, *tensors: Tensor) -> Tensors:
    """Run a piece as it is."""
    result = piece(*tensors)
    return result if isinstance(result, tuple) else (result,)


def taken_by(piece: fx.GraphModule, tensors: Tensors) -> Tensors:
    """Return what a piece takes of what the piece before it gave: outputs of the network follow that."""
    return tensors[: sum(node.op == "placeholder" for node in piece.graph.nodes)]


def difference_of(given: Tensors, expected: Tensors) -> float:
    """Return the largest difference of any element over its tensor's largest magnitude.

    Infinite if they differ in number, shape, dtype, or in what is not a floating-point number.
    """
    if len(given) != len(expected):
        return float("inf")
    largest = 0.0
    for a, b in zip(given, expected, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            return float("inf")
        if torch.equal(a, b):
            continue
        if not b.is_floating_point():
            return float("inf")
        gap = (a.double() - b.double()).abs().max() / b.double().abs().max()
        # NaN here is a NaN or an infinity on either side: no tolerance covers it.
        largest = max(largest, float(torch.nan_to_num(gap, nan=float("inf"))))
    return largest
