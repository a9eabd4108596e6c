"""Many frames at once through a cut network, also one that was written for a single frame."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bus.errors import ConfigurationError
from partition.partitioned import build
from partition.results import Kept
from partition.training import pieces
from partition.training.pieces import Pieces
from tests.support.small_training import small_images, small_model, small_network


class Single(nn.Module):
    """Has a batch of one written into it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (1, 10)."""
        y: Tensor = self.inner(x.reshape(1, 3, 32, 32))
        return y


@pytest.mark.parametrize("single", [False, True])
def test_what_crosses_is_what_crosses_frame_by_frame(single: bool) -> None:
    network = small_network()
    if single:
        network = replace(network, module=Single(network.module).eval())
    model = build(network)
    frames = small_images().train
    stops = (1, 2, len(model.cuts) - 1)
    crossing = Pieces(model, frames[0]).walk(frames, stops)
    for stop, tensors in zip(stops, crossing, strict=True):
        arm = next(arm for arm in model.arms if arm.cut == stop)
        for frame, tensor in zip(frames, tensors, strict=True):
            head = model.run_head(frame, arm)
            if head.logits is not None:
                assert torch.allclose(tensor, torch.from_numpy(head.logits), atol=1e-5)
            else:
                assert isinstance(head.kept, Kept)
                assert torch.allclose(tensor, head.kept.crossing[0][0], atol=1e-5)


def test_more_activations_than_memory_are_refused_with_the_number_that_fits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pieces, "MAX_KEPT_BYTES", 8 * 4 * (2048 + 10))
    model = small_model()
    assert model.cuts[1].elements == 2048
    frames = small_images().train
    made = Pieces(model, frames[0])
    assert len(made.walk(frames[:8], (1, len(model.cuts) - 1))[0]) == 8
    with pytest.raises(ConfigurationError, match="--limit them to 8"):
        made.walk(frames, (1, len(model.cuts) - 1))
