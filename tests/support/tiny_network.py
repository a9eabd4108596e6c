"""A real network small enough for a test: "tests.support.tiny_network:make"."""

import torch
from torch import Tensor, nn


def make() -> nn.Module:
    """Two convolutions and a classifier of ten classes."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 7, stride=8),
        nn.ReLU(),
        nn.Conv2d(4, 8, 3, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )


class _Answers(nn.Module):
    """Adds what it is told to the logits of a network, times a scale."""

    def __init__(self, scale: float, *added: float) -> None:
        super().__init__()
        self.body = make()
        self.scale = scale
        self.register_buffer("added", torch.tensor(added))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) * self.scale + self.added  # type: ignore[no-any-return]


def silent() -> nn.Module:
    """Logits that are zero, whatever the frame."""
    return _Answers(0.0, 0.0)


def masked() -> nn.Module:
    """Ten classes of which two are ruled out, as with a mask of minus infinity."""
    return _Answers(1.0, *[0.0] * 8, *[-torch.inf] * 2)


def broken() -> nn.Module:
    """Logits that are NaN, as after a training that diverged."""
    return _Answers(torch.nan, 0.0)
