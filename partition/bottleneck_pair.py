"""The two small networks of a learned bottleneck: what they look like, and how a tensor passes them."""

import math
from itertools import pairwise, zip_longest

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional

from bus.errors import ConfigurationError

# Widths between the latent and the cut: enough for the cuts tried, small beside any head.
_HIDDEN = (16, 32)


class Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a pair is built.

    Attributes:
        shape: of the tensor at the cut, (1, C, H, W), (1, T, D) or (1, D).
        channels: of the latent.
        halvings: how often height and width are halved; 0 for sequences.
        bits: 4 or 8, of a latent value.
    """

    shape: tuple[int, ...]
    channels: int
    halvings: int
    bits: int

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) at the cut and after each halving."""
        sizes = [(self.shape[2], self.shape[3])]
        for _ in range(self.halvings):
            sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
        return sizes

    @property
    def latent(self) -> tuple[int, ...]:
        """The shape of the latent, batch of one included."""
        if len(self.shape) == 4:
            return (1, self.channels, *self.sizes[-1])
        return (*self.shape[:-1], self.channels)

    @property
    def packed_bytes(self) -> int:
        """Bytes of a latent before zstd."""
        return math.ceil(math.prod(self.latent) * self.bits / 8)


class Pair(nn.Module):
    """Encoder, grid and decoder."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form
        axis_channels = form.shape[1] if len(form.shape) == 4 else form.shape[-1]
        layers = _convolutional if len(form.shape) == 4 else _linear
        self.encoder, self.decoder = layers(axis_channels, form)
        # One number a channel of the activation: centre and spread; of the latent: log of the grid's step.
        self.register_buffer("centre", torch.zeros(axis_channels))
        self.register_buffer("spread", torch.ones(axis_channels))
        self.log_step = nn.Parameter(torch.zeros(form.channels))

    def latent(self, x: Tensor) -> Tensor:
        """Return the latent in steps of its grid, not rounded, (n, ...)."""
        y = (x - self._along(self.centre, x)) / self._along(self.spread, x)
        z: Tensor = self.encoder(y)
        return z * self._along(torch.exp(-self.log_step), z)

    def rounded(self, z: Tensor) -> Tensor:
        """Return the latent on its grid; gradients pass as if it were not rounded (arXiv 1308.3432)."""
        half = 2 ** (self.form.bits - 1)
        bounded = z.clamp(-half, half - 1)
        return bounded + (bounded.round() - bounded).detach()

    def expand(self, q: Tensor) -> Tensor:
        """Return the activation that a rounded latent stands for."""
        z = q * self._along(torch.exp(self.log_step), q)
        if len(self.form.shape) == 4:
            for layer, size in zip_longest(self.decoder, [None, *self.form.sizes[-2::-1]]):
                z = layer(z if size is None else functional.interpolate(z, size=size))
        else:
            z = self.decoder(z)
        return z * self._along(self.spread, z) + self._along(self.centre, z)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the edge makes of `x`, (n, ...)."""
        return self.expand(self.rounded(self.latent(x)))

    def fit_grid(self, x: Tensor) -> None:
        """Begin with the centre and spread of activations `x`, and a grid that just holds their latents."""
        axes = [axis for axis in range(x.dim()) if axis != _channel_axis(x)]
        with torch.no_grad():
            self.centre.copy_(x.mean(axes))
            self.spread.copy_(x.std(axes).clamp(min=1e-6))
            largest = self.latent(x).abs().amax(axes)
            self.log_step += torch.log(largest.clamp(min=1e-6) / (2 ** (self.form.bits - 1) - 1))

    @staticmethod
    def _along(values: Tensor, x: Tensor) -> Tensor:
        """Return one value a channel, shaped to go with `x`."""
        return values.view(-1, 1, 1) if x.dim() == 4 else values


def _channel_axis(x: Tensor) -> int:
    return 1 if x.dim() == 4 else x.dim() - 1


def _convolutional(channels: int, form: Form) -> tuple[nn.Module, nn.ModuleList]:
    """3x3 convolutions, one each halving; the decoder has the same with nearest neighbours in between."""
    hidden = min(max(channels, _HIDDEN[0]), _HIDDEN[1])
    widths = [channels, *[hidden] * (form.halvings - 1), form.channels]
    down: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        down += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.ReLU()]
    encoder = nn.Sequential(*down[:-1]) if form.halvings else nn.Conv2d(channels, form.channels, 1)
    first = nn.Sequential(nn.Conv2d(form.channels, hidden, 3, padding=1), nn.ReLU())
    up: list[nn.Module] = [first]
    up += [
        nn.Sequential(nn.Conv2d(hidden, hidden, 3, padding=1), nn.ReLU()) for _ in range(form.halvings - 1)
    ]
    up.append(nn.Conv2d(hidden, channels, 3, padding=1))
    return encoder, nn.ModuleList(up)


def _linear(channels: int, form: Form) -> tuple[nn.Module, nn.Module]:
    hidden = max(channels // 2, form.channels)
    encoder = nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, form.channels))
    return encoder, nn.Sequential(nn.Linear(form.channels, hidden), nn.GELU(), nn.Linear(hidden, channels))


def choose_form(shape: tuple[int, ...], dtype: str, limit_bytes: float, bits: int) -> Form:
    """Return the form whose latent takes at most `limit_bytes` before zstd.

    Images are halved as little as leaves eight channels, and no more channels than the cut has.

    Raises:
        ConfigurationError: the cut holds no image, sequence or vector of float32; nothing so small is left.
    """
    if dtype != "float32" or len(shape) not in {2, 3, 4}:
        raise ConfigurationError(
            f"a bottleneck takes float32 of 2 to 4 dimensions, and {dtype} {shape} crosses there: "
            "choose another --cut"
        )
    if len(shape) != 4:
        channels = int(limit_bytes * 8 / bits) // math.prod(shape[:-1])
        if channels >= 1:
            return Form(shape, min(channels, shape[-1]), 0, bits)
    for halvings in range(8 if len(shape) == 4 else 0):
        height, width = Form(shape, 1, halvings, bits).sizes[-1]
        channels = int(limit_bytes * 8 / bits) // (height * width)
        if channels >= min(8, shape[1]) or (channels >= 1 and height * width == 1):
            return Form(shape, min(channels, shape[1] * 4**halvings), halvings, bits)
    raise ConfigurationError(
        f"no bottleneck for {shape} fits {limit_bytes:.0f} bytes: choose a smaller --ratio"
    )
