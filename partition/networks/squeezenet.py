"""SqueezeNet 1.1, written from Iandola et al. 2016 (arXiv 1602.07360) and its authors' later, lighter layout.

Not one of the built-in names: `partition.networks.squeezenet:SqueezeNet`. Parameter names are those of
torchvision, so that ImageNet weights load as they are.
"""

import torch
from torch import Tensor, nn

# Squeezed and expanded channels (1x1 and 3x3 each) of the fire modules; "pool" halves height and width.
LAYOUT: tuple[tuple[int, int] | str, ...] = (
    "pool", (16, 64), (16, 64),
    "pool", (32, 128), (32, 128),
    "pool", (48, 192), (48, 192), (64, 256), (64, 256),
)  # fmt: skip


class Fire(nn.Module):
    """A squeeze to few channels, then 1x1 and 3x3 convolutions beside each other (figure 1 of the paper)."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the module's output (n, 2 * expanded, h, w) for `x` of shape (n, inputs, h, w)."""
        x = self.squeeze_activation(self.squeeze(x))
        both = (self.expand1x1_activation(self.expand1x1(x)), self.expand3x3_activation(self.expand3x3(x)))
        return torch.cat(both, 1)


class SqueezeNet(nn.Module):
    """The network; input (n, 3, 224, 224), output (n, classes). Weights are drawn: He-uniform, no bias."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, 2), nn.ReLU(inplace=True)]
        channels = 64
        for part in LAYOUT:
            if isinstance(part, str):
                layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            else:
                layers.append(Fire(channels, *part))
                channels = 2 * part[1]
        self.features = nn.Sequential(*layers)
        last = nn.Conv2d(channels, classes, 1)
        self.classifier = nn.Sequential(nn.Dropout(), last, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (n, classes) of normalised images (n, 3, h, w)."""
        return torch.flatten(self.classifier(self.features(x)), 1)
