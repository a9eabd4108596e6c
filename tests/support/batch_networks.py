"""Networks that do not take several frames at once: "tests.support.batch_networks:Flat"."""

from torch import Tensor, nn

from tests.support.tiny_network import make


class Flat(nn.Module):
    """Is told the shape of one frame."""

    def __init__(self) -> None:
        super().__init__()
        self.body = make()

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (1, 10)."""
        return self.body(x).reshape(1, 10)  # type: ignore[no-any-return]


class Summing(nn.Module):
    """Returns one answer for however many frames."""

    def __init__(self) -> None:
        super().__init__()
        self.body = make()

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (10,)."""
        return self.body(x).sum(0)  # type: ignore[no-any-return]


class Mixing(nn.Module):
    """Lets frames see each other: one scale for all."""

    def __init__(self) -> None:
        super().__init__()
        self.body = make()

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (frames, 10)."""
        found = self.body(x)
        return found / found.abs().max()  # type: ignore[no-any-return]
