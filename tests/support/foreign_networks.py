"""Networks of every kind that people bring, and what cannot be cut."""

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional


class Skips(nn.Module):
    """A small U-net: several tensors cross in its middle."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, width, 3, padding=1)
        self.deep = nn.Conv2d(width, width, 3, stride=4, padding=1)
        self.up = nn.ConvTranspose2d(width, width, 4, 4)
        self.out = nn.Conv2d(2 * width, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = functional.relu(self.down(x))
        b = functional.relu(self.deep(a))
        return self.out(torch.cat([a, self.up(b)], 1))  # type: ignore[no-any-return]


class Narrow(nn.Module):
    """Two branches of few numbers each: the cut of two tensors sends least."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(64, 4)
        self.right = nn.Linear(64, 4)
        self.join = nn.Linear(8, 32)
        self.last = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.left(x).relu(), self.right(x).sigmoid()
        return self.last(self.join(torch.cat([left, right], -1)))  # type: ignore[no-any-return]


class Dictionary(nn.Module):
    """Named inputs, one of them optional, a dictionary of outputs, one early, one None, one nested."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.rnn = nn.LSTM(16, 12, batch_first=True)
        self.head = nn.Linear(12, 5)

    def forward(
        self, input_ids: Tensor, mask: Tensor | None = None
    ) -> dict[str, Tensor | tuple[Tensor, Tensor] | None]:
        x = self.embed(input_ids)
        early = x.mean(1)
        if mask is not None:
            x = x * mask.unsqueeze(-1)
        y, state = self.rnn(x)
        return {"early": early, "none": None, "state": state, "logits": self.head(y[:, -1])}


class Attention(nn.Module):
    """A transformer's encoder, with position buffer, views, dropout and a change of dtype."""

    def __init__(self, dim: int = 32) -> None:
        super().__init__()
        self.register_buffer("position", torch.randn(1, 64, dim))
        layer = nn.TransformerEncoderLayer(dim, 4, 64, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(dim, 7)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        x = x + self.position[:, :length]  # type: ignore[index]
        x = self.encoder(x).double().view(batch, length, -1).float()
        return self.head(x.mean(1))  # type: ignore[no-any-return]


class InPlace(nn.Module):
    """Writes into its input, into an activation through a view, and into a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.last = nn.Conv2d(6, 4, 3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls.add_(1)  # type: ignore[operator]
        x = self.norm(self.first(x.mul_(0.5)))
        x[:, :2].relu_()
        x += 1.0
        return self.last(x).relu_()  # type: ignore[no-any-return]


class Strided(nn.Module):
    """What crosses is laid out otherwise than in C order, and what follows cares."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(48, 40)
        self.last = nn.Linear(24, 9)

    def forward(self, x: Tensor) -> Tensor:
        turned = self.first(x).transpose(1, 2)
        return self.last(turned * 1.5).softmax(-1)  # type: ignore[no-any-return]


class Half(nn.Module):
    """Computes in bfloat16 in its middle, with indices and a mask across."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 16)
        self.last = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x).to(torch.bfloat16)
        chosen = y.argmax(-1, keepdim=True)
        positive = y > 0
        y = torch.where(positive, y, y * 0.5).gather(-1, chosen).float()
        return self.last(y.expand(*y.shape[:-1], 16))  # type: ignore[no-any-return]


class Decides(nn.Module):
    """Steers Python by the content of a tensor: cannot be cut."""

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x * 2
        return x - 1


class Random(nn.Module):
    """Another answer each time."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(x, 0.5, training=True)


class Nothing(nn.Module):
    """Returns no tensor."""

    def forward(self, x: Tensor) -> str:
        return str(x.shape)


def with_width(*, width: int) -> nn.Module:
    return Skips(width)


def no_module() -> int:
    return 3


class TwoPaths(nn.Module):
    """Classifies frames along two paths that stay apart until the end; answers in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 4, 8, stride=8)
        self.right = nn.Conv2d(3, 4, 16, stride=16)
        self.left_deep = nn.Linear(4, 16)
        self.right_deep = nn.Conv2d(4, 16, 3)
        self.head = nn.Linear(32, 6)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        # Channels last, as a view: what crosses is not in C order.
        left, right = self.left(x).relu().permute(0, 2, 3, 1), self.right(x).relu()
        left = self.left_deep(left).mean((1, 2))
        right = self.right_deep(right).mean((2, 3))
        return {"hidden": left, "logits": self.head(torch.cat([left, right], 1))}


class Chooses(nn.Module):
    """Sends halves, indices and a number of no dimension across its cut."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 16, stride=16)
        self.last = nn.Linear(8, 5)
        self.register_buffer("table", torch.linspace(-1.0, 1.0, 8))

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x).mean((2, 3))
        strongest = y.argmax(1)
        scale = y.abs().mean()
        halves = y.to(torch.bfloat16)
        return self.last(halves.float() * scale + self.table[strongest].unsqueeze(1))  # type: ignore[no-any-return,index]


class Talks(nn.Linear):
    """Prints as it is made, as some libraries do as they are imported."""

    def __init__(self) -> None:
        super().__init__(4, 2)
        print("there is a newer version of this library")  # noqa: T201 - that is what it is for


class Padded(nn.Module):
    """Means over as many steps as a second input says, and refuses a length that no sequence has."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(8, 12, batch_first=True)
        self.last = nn.Linear(12, 4)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        if not torch.compiler.is_exporting() and int(lengths.min()) < 1:
            raise ValueError("a sequence has at least one step")
        steps = torch.arange(x.shape[1])[None, :] < lengths[:, None]
        y, _ = self.rnn(x)
        mean = (y * steps.unsqueeze(-1)).sum(1) / lengths[:, None]
        return self.last(mean)  # type: ignore[no-any-return]


class _Reverse(torch.autograd.Function):
    """Frees what it can compute again from its output, as reversible networks do."""

    @staticmethod
    def forward(context: FunctionCtx, x: Tensor, inner: nn.Module) -> Tensor:
        left = x.chunk(2, 1)[0]
        y = torch.cat((left + inner(left), left), 1)
        context.save_for_backward(y)
        return y


class _Reversible(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] % 2:
            raise ValueError("two halves are of one width")
        y: Tensor = _Reverse.apply(x, self.inner)  # type: ignore[no-untyped-call]
        x.data.set_()  # type: ignore[call-overload] # torch's stub lacks the one without arguments
        return y


def reversible() -> nn.Module:
    """A block whose autograd.Function the exporter fails at, without saying where."""
    return nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.ReLU(), _Reversible()), nn.Linear(8, 2))


_LIBRARY = torch.library.Library("cans_tests", "DEF")  # type: ignore[no-untyped-call]
_LIBRARY.define("largest_first(Tensor x) -> Tensor")  # type: ignore[no-untyped-call]
_LIBRARY.impl("largest_first", lambda x: x.sort(-1, descending=True).values, "CPU")  # type: ignore[no-untyped-call]


class _Custom(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _sorted(x)


def _sorted(x: Tensor) -> Tensor:
    return torch.ops.cans_tests.largest_first(x)  # type: ignore[no-any-return]


class CustomOperator(nn.Module):
    """Calls, two levels down and in a plain function, an operator that has no fake implementation."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 4), _Custom())

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.body(x) + y  # type: ignore[no-any-return]
