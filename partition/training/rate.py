"""How many bits a latent will take, as something to descend: the rate of rate and distortion."""

import torch
from torch import Tensor, nn

# Of a symbol's chance; below it, far out, the slope would vanish.
_LEAST = 1e-4


class Rate(nn.Module):
    """A logistic distribution for each channel, learnt along with the latent that it describes.

    Rounding is stood for by uniform noise, whose density is that of the rounded values between them
    (Ballé et al. 2017, arXiv 1611.01704). What writes the payload is zstd, which comes within some per cent.

    Args:
        latents: float32 (n, ...), in steps of the grid, to begin from.
        channel: which dimension of a latent is the channels'.
    """

    def __init__(self, latents: Tensor, channel: int) -> None:
        super().__init__()
        others = [axis for axis in range(latents.dim()) if axis != channel % latents.dim()]
        shape = [1 if axis in others else -1 for axis in range(latents.dim())][1:]
        # A logistic's spread is pi / sqrt(3) of its scale.
        spread = latents.std(others).clamp(min=1e-2)
        self.centre = nn.Parameter(latents.mean(others).view(shape))
        self.log_scale = nn.Parameter((spread * 0.55).log().view(shape))

    def forward(self, latents: Tensor, noise: Tensor) -> Tensor:
        """Return the mean bits that a latent takes.

        Args:
            latents: (n, ...), in steps of the grid.
            noise: as `latents`, uniform between -1/2 and 1/2.
        """
        away = latents + noise - self.centre
        steep = torch.exp(-self.log_scale)
        chance = torch.sigmoid((away + 0.5) * steep) - torch.sigmoid((away - 0.5) * steep)
        bits: Tensor = -torch.log2(chance.clamp(min=_LEAST)).sum() / len(latents)
        return bits
