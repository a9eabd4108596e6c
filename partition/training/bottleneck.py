"""Trains a bottleneck without labels: what the edge makes of its latent should lead to the uncut answer.

Head and tail are frozen, so what crosses the cut is computed once. The first third of the steps teaches the
pair to copy that activation, which costs little; the others, through the tail, to keep what the answer
depends on: the Kullback-Leibler divergence to the uncut network's answer (Hinton et al. 2015, arXiv
1503.02531) and the squared error of its logits. Bits have a price all the while, which rises as long as a
latent takes more than it may, and falls when it takes less.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bus.errors import ConfigurationError
from partition.bottleneck import BottleneckCodec, Info, digest, dump, make_dictionary
from partition.bottleneck_pair import Pair, choose_form
from partition.partitioned import PartitionedModel
from partition.training.checkpoint import State, batch_of, write_atomically
from partition.training.data import Images
from partition.training.pieces import Pieces, freeze
from partition.training.rate import Rate
from partition.training.schedule import rate_at

# Of the learning rate, once the loss goes through the tail: its gradients are steep and differ from batch to
# batch, and at the full rate a few dozen steps undo what the principal components knew.
_THROUGH_SHARE = 0.2
_STEEPEST = 1.0
# Values that a latent has, at `bits` each, for each that it may take: the price then says which are worth it.
_ROOM = 2.0
# The price of all bits that a latent may take, at first; how fast it follows, over a training, and a step
# at most; its bounds.
_PRICE, _EAGERNESS, _EAGEREST, _PRICES = 0.1, 20.0, 0.02, (1e-3, 10.0)
# Of the learning rate: a grid's step has far to go; the chances must keep up with what they describe.
_GRID_SHARE, _CHANCES_SHARE = 5.0, 10.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    Attributes:
        cut: index of the cut, neither the first nor the last.
        ratio: how many times smaller than the uint8 input payloads shall be.
        bits: 4 or 8, of a latent value.
        steps: in all.
        batch: images a step.
        rate: learning rate at its highest.
        seed: of weights and batches.
    """

    cut: int
    ratio: float = 16.0
    bits: int = 4
    steps: int = 600
    batch: int = 16
    rate: float = 1e-3
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """A bottleneck on held-out images: share of answers kept, and mean bytes on the wire."""

    agreement: float
    payload_bytes: float


class BottleneckTraining:
    """Implements `Training`.

    Args:
        model: whole, on the CPU; its weights stay as they are.
        images: uint8 frames of its input size.
        recipe: how to train.

    Raises:
        ConfigurationError: no such cut, one that no bottleneck suits, or a ratio out of reach.
    """

    def __init__(self, model: PartitionedModel, images: Images, recipe: Recipe) -> None:
        last = len(model.cuts) - 1
        if not 0 < recipe.cut < last:
            raise ConfigurationError(
                f"{model.name} has cuts 1 to {last - 1} for a bottleneck, not {recipe.cut}"
            )
        self._cut = model.cuts[recipe.cut]
        limit = model.cuts[0].elements / recipe.ratio
        form = choose_form(self._cut.shape, self._cut.dtype, _ROOM * limit, recipe.bits)
        self._model, self._recipe = model, recipe
        self.steps = recipe.steps
        freeze(model)
        self._pieces = Pieces(model, images.train[0])
        stops = (recipe.cut, last)
        self._crossing, self._answers = self._pieces.walk(images.train, stops)
        self._unseen, answers = self._pieces.walk(images.held_out, stops)
        self._unseen_top = answers.argmax(1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.pair = Pair(form)
        self.pair.fit(self._crossing)
        with torch.no_grad():
            self._rate = Rate(self.pair.latent(self._crossing), self.pair.channel)
        self._bits, self._price = 8 * limit, _PRICE
        self._optimiser = self._make_optimiser()
        self._measured: tuple[str, Measured] | None = None
        self.identity = (
            f"bottleneck, model {model.hash}, {recipe}, {form}, {len(images.train)} images, "
            f"{len(images.held_out)} held out, inputs {float(self._crossing.double().sum()):.6g}"
        )

    def step(self, number: int) -> float:
        """As `Training.step`."""
        copying = self.steps // 3
        through = number >= copying
        rate = (
            rate_at(number - copying, self.steps - copying, _THROUGH_SHARE * self._recipe.rate)
            if through
            else rate_at(number, copying, self._recipe.rate)
        )
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group["share"]
        batch = batch_of(self._recipe.seed, number, len(self._crossing), self._recipe.batch)
        latent = self.pair.latent(self._crossing[batch])
        made = self.pair.expand(self.pair.rounded(latent))
        loss = self._loss(made, self._crossing[batch], self._answers[batch], through=through)
        taken = self._share_of_bits(latent, number)
        priced = loss + self._price * taken
        self._optimiser.zero_grad(set_to_none=True)
        priced.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        torch.nn.utils.clip_grad_norm_(self.pair.parameters(), _STEEPEST)
        self._optimiser.step()
        eager = min(_EAGERNESS / self.steps, _EAGEREST)
        price = self._price * math.exp(eager * (float(taken.detach()) - 1.0))
        self._price = min(max(price, _PRICES[0]), _PRICES[1])
        return float(loss.detach())

    def agreement(self) -> float:
        """As `Training.agreement`."""
        return self.measure().agreement

    def measure(self) -> Measured:
        """Send every held-out image through the codec as it would be sent, and on through the tail.

        Asked again about the same weights, it says what it found: `save` asks right after the last step.
        """
        codec = self.codec()
        if self._measured is not None and self._measured[0] == codec.name:
            return self._measured[1]
        same, sizes = 0, 0
        for each, top in zip(self._unseen, self._unseen_top, strict=True):
            encoded = codec.encode(each[None].numpy())
            decoded = codec.decode(encoded.payload, encoded.dtype, encoded.shape)
            with torch.inference_mode():
                answer = self._pieces.run(
                    self._recipe.cut, len(self._model.cuts) - 1, torch.from_numpy(decoded)
                )
            same += int(answer.argmax()) == int(top)
            sizes += encoded.payload_bytes
        found = Measured(same / len(self._unseen), sizes / len(self._unseen))
        self._measured = (codec.name, found)
        return found

    def codec(self) -> BottleneckCodec:
        """Return the codec as it is now, with weights of its own."""
        pair = Pair(self.pair.form)
        pair.load_state_dict(self.pair.state_dict())
        known = make_dictionary(pair, self._crossing)
        return BottleneckCodec(pair, cut=self._cut.name, network=self._model.hash, dictionary=known)

    def state(self) -> State:
        """As `Training.state`."""
        return {
            "pair": self.pair.state_dict(),
            "rate": self._rate.state_dict(),
            "price": self._price,
            "optimiser": self._optimiser.state_dict(),
        }

    def restore(self, state: State) -> None:
        """As `Training.restore`."""
        self.pair.load_state_dict(state["pair"])
        self._rate.load_state_dict(state["rate"])
        self._price = state["price"]
        self._optimiser.load_state_dict(state["optimiser"])

    def save(self, path: Path) -> Info:
        """Write the pair with what was measured of it; return that."""
        measured = self.measure()
        known = make_dictionary(self.pair, self._crossing)
        info = Info(
            hash=digest(self._cut.name, self.pair.form, self.pair.state_dict(), known),
            network=self._model.hash,
            model=self._model.name,
            cut=self._cut.name,
            form=self.pair.form,
            steps=self.steps,
            seed=self._recipe.seed,
            held_out=len(self._unseen),
            agreement=measured.agreement,
            payload_bytes=measured.payload_bytes,
        )
        write_atomically(path, dump(self.pair, info, known))
        return info

    def _make_optimiser(self) -> torch.optim.Optimizer:
        layers = [value for name, value in self.pair.named_parameters() if name != "log_step"]
        groups = (
            {"params": layers, "share": 1.0},
            {"params": [self.pair.log_step], "share": _GRID_SHARE},
            {"params": self._rate.parameters(), "share": _CHANCES_SHARE},
        )
        return torch.optim.Adam(groups, lr=self._recipe.rate)

    def _share_of_bits(self, latent: Tensor, number: int) -> Tensor:
        """Return the bits that latents take, of those that they may."""
        half = 2.0 ** (self._recipe.bits - 1)
        drawn = np.random.default_rng((self._recipe.seed, number, 1)).random(latent.shape, np.float32)
        bits: Tensor = self._rate(latent.clamp(-half, half - 1), torch.from_numpy(drawn - np.float32(0.5)))
        return bits / self._bits

    def _loss(self, made: Tensor, crossing: Tensor, answers: Tensor, *, through: bool) -> Tensor:
        spread = self.pair.get_buffer("spread")
        wide = spread.view(-1, 1, 1) if made.dim() == 4 else spread
        copying: Tensor = ((made - crossing) / wide).square().mean()
        if not through:
            return copying
        logits = self._pieces.run(self._recipe.cut, len(self._model.cuts) - 1, made)
        divergence = functional.kl_div(
            functional.log_softmax(logits, 1),
            functional.log_softmax(answers, 1),
            reduction="batchmean",
            log_target=True,
        )
        error: Tensor = (logits - answers).square().mean() / answers.var().clamp(min=1e-6)
        return copying + divergence + error
