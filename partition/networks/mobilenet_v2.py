"""MobileNetV2 with three early exits, written from Sandler et al. 2018 (arXiv 1801.04381), table 2.

Parameter names are those of torchvision, so that ImageNet weights load as they are. The exit heads are
extra (`exits.*`): they belong to the module and to its state, and never to `forward`.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

# Expansion t, output channels c, repeats n, stride s of the first block (table 2 of the paper).
BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STEM_CHANNELS = 32
LAST_CHANNELS = 1280
EXIT_CHANNELS = 256


def _conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    """Expand, filter by depth, project linearly; add the input where the shape allows (section 3.3)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = [] if expansion == 1 else [_conv_norm(inputs, hidden, 1)]
        layers += [
            _conv_norm(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output for `x` of shape (n, c, h, w)."""
        y: Tensor = self.conv(x)
        return x + y if self.residual else y


def _exit_head(channels: int, classes: int) -> nn.Sequential:
    """Return a head that is cheap beside the trunk: one 1x1 convolution, pooling, one linear layer."""
    return nn.Sequential(
        _conv_norm(channels, EXIT_CHANNELS, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(1),
        nn.Linear(EXIT_CHANNELS, classes),
    )


class MobileNetV2(nn.Module):
    """The network at width 1.0; input (n, 3, 224, 224), output (n, classes).

    Attributes:
        exit_points: the submodules after which `exits` sit, in order; about 17, 38 and 70 % of the MACs.
    """

    exit_points: ClassVar[tuple[str, ...]] = ("features.3", "features.6", "features.13")

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        features: list[nn.Module] = [_conv_norm(3, STEM_CHANNELS, 3, stride=2)]
        widths = [STEM_CHANNELS]
        for expansion, channels, repeats, first_stride in BLOCKS:
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                features.append(InvertedResidual(widths[-1], channels, stride, expansion))
                widths.append(channels)
        features.append(_conv_norm(widths[-1], LAST_CHANNELS, 1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(LAST_CHANNELS, classes))
        taps = [widths[int(point.rpartition(".")[2])] for point in self.exit_points]
        self.exits = nn.ModuleList(_exit_head(channels, classes) for channels in taps)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (n, classes) of normalised images (n, 3, h, w)."""
        x = self.features(x)
        x = nn.functional.adaptive_avg_pool2d(x, 1)
        logits: Tensor = self.classifier(torch.flatten(x, 1))
        return logits
