"""Trained early exits: heads for any cut, when they are sure enough to answer, and the file that holds them.

A head's logits are divided by its temperature, so the softmax of what it returns is its calibrated confidence
(Guo et al. 2017, arXiv 1706.04599). It answers where that reaches its threshold.
What this file must never do: attach exits to another network than they were trained for.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn

from bus.errors import ConfigurationError
from partition.trained_file import Kind

FILE = Kind("cans-exits 1", "exits", "cans train exits")
# Of the layer between a cut and the classes: a few per cent of what a trunk does there.
HIDDEN = 128
# No softmax exceeds 1: with this threshold an exit never answers.
NEVER = 2.0


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One exit: where it sits, and when it answers.

    Attributes:
        after: the name of its cut.
        shape: of the tensor there, batch included.
        classes: how many logits.
        threshold: the confidence from which it answers; above 1 it never does.
        temperature: of its confidence.
        answered: share of held-out images that it answers.
        agreement: share of these with the uncut network's answer; 1 if it answers none.
        kept: share of all held-out images with the uncut network's answer, once the others go on to it.
        trunk_ms, head_ms: medians on the machine that trained: the network up to here, and this head.
        latency_ms: expected of a frame on that machine: to here, and, where this exit is not sure, on.
        accuracy: share of held-out images whose label it gives, sure or not; None without labels.
        accuracy_together: the same, once images that it is not sure of go on to the end.
    """

    after: str
    shape: tuple[int, ...]
    classes: int
    threshold: float
    temperature: float
    answered: float
    agreement: float
    kept: float
    trunk_ms: float
    head_ms: float
    latency_ms: float
    accuracy: float | None = None
    accuracy_together: float | None = None


class Info(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a file says of its exits.

    Attributes:
        network: the model hash.
        model: what a person called the network.
        rules: the exits in order.
        target: the agreement that the thresholds were chosen for.
        steps, seed: of the training.
        calibrated, held_out: on how many images thresholds were chosen, and on how many others measured.
        whole_ms: median of the whole network on the machine that trained.
        whole_accuracy: share of held-out images whose label the whole network gives; None without labels.
    """

    network: str
    model: str
    rules: tuple[Rule, ...]
    target: float
    steps: int
    seed: int
    calibrated: int
    held_out: int
    whole_ms: float
    whole_accuracy: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TrainedExits:
    """What a file holds: one head for each of `info.rules`."""

    info: Info
    heads: tuple["ExitHead", ...]


class ExitHead(nn.Module):
    """From what crosses a cut, (n, C, H, W), (n, T, D) or (n, D), to logits (n, classes)."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        channels = shape[1] if len(shape) == 4 else shape[-1]
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("spread", torch.ones(channels))
        self.register_buffer("temperature", torch.ones(()))
        self.mix: nn.Module = (
            nn.Conv2d(channels, HIDDEN, 1) if len(shape) == 4 else nn.Linear(channels, HIDDEN)
        )
        self.classify = nn.Linear(HIDDEN, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits over the temperature, (n, classes)."""
        centre, spread = self.get_buffer("centre"), self.get_buffer("spread")
        if x.dim() == 4:
            centre, spread = centre.view(-1, 1, 1), spread.view(-1, 1, 1)
        hidden = nn.functional.relu(self.mix((x - centre) / spread))
        if x.dim() == 4:
            hidden = hidden.mean((2, 3))
        elif x.dim() == 3:
            hidden = hidden.mean(1)
        logits: Tensor = self.classify(hidden)
        return logits / self.get_buffer("temperature")

    def fit_input(self, x: Tensor) -> None:
        """Take the centre and spread of each channel of `x`."""
        axes = [axis for axis in range(x.dim()) if axis != (1 if x.dim() == 4 else x.dim() - 1)]
        self.get_buffer("centre").copy_(x.mean(axes))
        self.get_buffer("spread").copy_(x.std(axes).clamp(min=1e-6))


def dump(trained: TrainedExits) -> bytes:
    """Return a file with the heads' weights and what is known of them."""
    return FILE.dump(trained.info, nn.ModuleList(trained.heads).state_dict())


def read(path: Path) -> TrainedExits:
    """Return what `dump` wrote.

    Raises:
        ConfigurationError: no such file, another format, or damaged.
    """
    said, state = FILE.read(path)
    try:
        info = msgspec.json.decode(said, type=Info)
        heads = tuple(ExitHead(rule.shape, rule.classes) for rule in info.rules)
        nn.ModuleList(heads).load_state_dict(state)
    except (ValueError, RuntimeError) as error:
        raise ConfigurationError(f"{path} is damaged: {type(error).__name__}") from None
    return TrainedExits(info, tuple(head.eval().requires_grad_(requires_grad=False) for head in heads))
