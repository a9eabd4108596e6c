"""Pieces of a partitioned network as training runs them: many frames at once, gradients through the tail.

The network's own weights are frozen: they belong to everybody who runs it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from bus.errors import ConfigurationError
from partition.images import Frame
from partition.partitioned import PartitionedModel
from partition.preprocessing import normalise

# What is kept in memory of activations, all of them together.
MAX_KEPT_BYTES = 2 * 1024**3
_BATCH = 8
# Largest difference of any logit, relative to the largest, between frames run together and one by one.
_TOLERANCE = 1e-3


class Pieces:
    """Runs a model from cut to cut on batches.

    Args:
        model: its tensors stay on its device; it should be "cpu".
        frame: any one, to find out whether the network takes several frames at once.
    """

    def __init__(self, model: PartitionedModel, frame: Frame) -> None:
        self.model = model
        self.end = len(model.cuts) - 1
        self._batched = True
        with torch.no_grad():
            x = normalise(frame)
            both = torch.cat([x, x.flip(3)])
            single = torch.cat([self.run(0, self.end, each) for each in torch.split(both, 1)])
            try:
                together = self.run(0, self.end, both)
                bound = _TOLERANCE * (1.0 + float(single.abs().max()))
                self._batched = bool((together - single).abs().max() <= bound)
            except (RuntimeError, AssertionError, ValueError):
                # Traced with a batch of one written into it, as torch.export does.
                self._batched = False

    def run(self, start: int, stop: int, x: Tensor) -> Tensor:
        """Return what crosses cut `stop`, (n, ...), for what crosses cut `start`."""
        piece = self.model.piece(start, stop)
        parts = (x,) if self._batched else torch.split(x, 1)
        at = self.model.answer_index(start) if stop == self.end else 0
        return torch.cat([piece(part)[at] for part in parts])

    def walk(self, frames: Sequence[Frame], stops: Sequence[int]) -> list[Tensor]:
        """Return what crosses each of `stops`, in increasing order, for all frames: float32 (n, ...) each.

        Raises:
            ConfigurationError: more than `MAX_KEPT_BYTES`.
        """
        wanted = 4 * len(frames) * sum(self.model.cuts[stop].elements for stop in stops)
        if wanted > MAX_KEPT_BYTES:
            raise ConfigurationError(
                f"{len(frames)} images take {wanted / 1024**3:.1f} GiB of activations: --limit them to "
                f"{len(frames) * MAX_KEPT_BYTES // wanted}"
            )
        kept: list[list[Tensor]] = [[] for _ in stops]
        with torch.no_grad():
            for first in range(0, len(frames), _BATCH):
                x = torch.cat([normalise(frame) for frame in frames[first : first + _BATCH]])
                start = 0
                for place, stop in enumerate(stops):
                    x, start = self.run(start, stop, x), stop
                    kept[place].append(x)
        return [torch.cat(parts) for parts in kept]


def freeze(model: PartitionedModel) -> None:
    """Tell torch that the network's own weights need no gradients."""
    model.piece(0, len(model.cuts) - 1).requires_grad_(requires_grad=False)
