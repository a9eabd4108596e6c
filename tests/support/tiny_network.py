"""A real network small enough for a test: "tests.support.tiny_network:make"."""

from torch import nn


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
