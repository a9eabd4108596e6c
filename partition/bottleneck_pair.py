"""The two small networks of a learned bottleneck: what they look like, and how a tensor passes them."""

import math
from collections.abc import Callable
from functools import partial

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional

from bus.errors import ConfigurationError

# Of the two layers that refine the latent, where all is small, and of the two that refine what was decoded.
_WIDE, HIDDEN = 128, 32
# Of a latent of images, at least.
_CHANNELS = 32
# Patches that the principal components are taken from.
_ROWS = 20_000


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
    def latent(self) -> tuple[int, ...]:
        """The shape of the latent, batch of one included."""
        if len(self.shape) == 4:
            side = 2**self.halvings
            return (1, self.channels, -(-self.shape[2] // side), -(-self.shape[3] // side))
        return (*self.shape[:-1], self.channels)

    @property
    def packed_bytes(self) -> int:
        """Bytes of a latent before zstd."""
        return math.ceil(math.prod(self.latent) * self.bits / 8)


class Pair(nn.Module):
    """Encoder, grid and decoder.

    The encoder is one linear map of each patch of 2^halvings x 2^halvings places, or of each token: little
    work for a device. The decoder is two layers that mend the latent by its neighbours, a linear map back,
    and two layers at full resolution that refine it.
    """

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form
        image = len(form.shape) == 4
        channels, side = form.shape[1 if image else -1], 2**form.halvings
        self.encoder: nn.Module
        self.decoder: nn.Module
        layer = partial(nn.Conv2d, kernel_size=3, padding=1) if image else nn.Linear
        if image:
            self.encoder = nn.Conv2d(channels, form.channels, side, side)
            self.decoder = nn.ConvTranspose2d(form.channels, channels, side, side)
        else:
            self.encoder = nn.Linear(channels, form.channels)
            self.decoder = nn.Linear(form.channels, channels)
        self.mend = _refinement(layer, form.channels, _WIDE)
        self.refine = _refinement(layer, channels, HIDDEN)
        # One number a channel of the activation: centre and spread; of the latent: log of the grid's step.
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("spread", torch.ones(channels))
        self.log_step = nn.Parameter(torch.zeros(form.channels))

    def latent(self, x: Tensor) -> Tensor:
        """Return the latent in steps of its grid, not rounded, (n, ...)."""
        z: Tensor = self.encoder(self._padded(self._standard(x)))
        return z * _along(torch.exp(-self.log_step), z)

    def rounded(self, z: Tensor) -> Tensor:
        """Return the latent on its grid; gradients pass as if it were not rounded (arXiv 1308.3432)."""
        half = 2 ** (self.form.bits - 1)
        bounded = z.clamp(-half, half - 1)
        return bounded + (bounded.round() - bounded).detach()

    def expand(self, q: Tensor) -> Tensor:
        """Return the activation that a rounded latent stands for."""
        z = q * _along(torch.exp(self.log_step), q)
        y: Tensor = self.decoder(z + self.mend(z))
        if y.dim() == 4:
            y = y[:, :, : self.form.shape[2], : self.form.shape[3]]
        y = y + self.refine(y)
        return y * _along(self.get_buffer("spread"), y) + _along(self.get_buffer("centre"), y)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the edge makes of `x`, (n, ...)."""
        return self.expand(self.rounded(self.latent(x)))

    @property
    def channel(self) -> int:
        """Which dimension of a latent is its channels'."""
        return 1 if len(self.form.shape) == 4 else -1

    def fit(self, x: Tensor) -> None:
        """Begin with the principal components of the patches of `x`, and a grid that holds them."""
        axes = [axis for axis in range(x.dim()) if axis != (1 if x.dim() == 4 else x.dim() - 1)]
        side = 2**self.form.halvings
        with torch.no_grad():
            self.get_buffer("centre").copy_(x.mean(axes))
            self.get_buffer("spread").copy_(x.std(axes).clamp(min=1e-6))
            y = self._padded(self._standard(x))
            # Channels first as a convolution's weights are: (patches, channels x side x side).
            patches = functional.unfold(y, side, stride=side).transpose(1, 2) if y.dim() == 4 else y
            components = _components(patches.reshape(-1, patches.shape[-1]), self.form.channels)
            for layer in (self.encoder, self.decoder):
                assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
                back = isinstance(layer, nn.Linear) and layer is self.decoder
                layer.weight.copy_((components.T if back else components).reshape(layer.weight.shape))
                assert layer.bias is not None
                layer.bias.zero_()
            z = self.latent(x)
            axes = [axis for axis in range(z.dim()) if axis != (1 if z.dim() == 4 else z.dim() - 1)]
            largest = torch.minimum(z.abs().amax(axes), 4.0 * z.std(axes))
            self.log_step.add_(torch.log(largest.clamp(min=1e-6) / (2 ** (self.form.bits - 1) - 0.5)))

    def _standard(self, x: Tensor) -> Tensor:
        return (x - _along(self.get_buffer("centre"), x)) / _along(self.get_buffer("spread"), x)

    def _padded(self, x: Tensor) -> Tensor:
        """Return images grown by zeros, right and below, to whole patches."""
        if x.dim() != 4:
            return x
        side = 2**self.form.halvings
        return functional.pad(x, (0, -x.shape[3] % side, 0, -x.shape[2] % side))


def _refinement(layer: Callable[[int, int], nn.Module], width: int, hidden: int) -> nn.Sequential:
    """Return two layers to be added to what they are given; they begin as nothing."""
    last = layer(hidden, width)
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    return nn.Sequential(layer(width, hidden), nn.ReLU(), last)


def _along(values: Tensor, x: Tensor) -> Tensor:
    """Return one value a channel, shaped to go with `x`."""
    return values.view(-1, 1, 1) if x.dim() == 4 else values


def _components(rows: Tensor, count: int) -> Tensor:
    """Return the first principal components of rows (n, d) as (count, d), on at most `_ROWS` of them."""
    chosen = rows[:: max(1, len(rows) // _ROWS)].double()
    vectors: Tensor = torch.linalg.eigh(chosen.T @ chosen / len(chosen)).eigenvectors
    return vectors.flip(1).T[:count].float()


def choose_form(shape: tuple[int, ...], dtype: str, limit_bytes: float, bits: int) -> Form:
    """Return the form whose latent takes at most `limit_bytes` before zstd.

    Images are halved as little as leaves `_CHANNELS`: larger patches have more in common to leave out, and
    cost the device more.

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
        height, width = Form(shape, 1, halvings, bits).latent[2:]
        channels = int(limit_bytes * 8 / bits) // (height * width)
        if channels >= min(_CHANNELS, shape[1] * 4**halvings) or (channels >= 1 and height * width == 1):
            return Form(shape, min(channels, shape[1] * 4**halvings), halvings, bits)
    raise ConfigurationError(
        f"no bottleneck for {shape} fits {limit_bytes:.0f} bytes: choose a smaller --ratio"
    )
