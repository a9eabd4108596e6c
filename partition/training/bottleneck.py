"""Trains a bottleneck without labels: what the edge makes of its latent should lead to the uncut answer.

Head and tail are frozen, so what crosses the cut is computed once. The first third of the steps teaches the
pair to copy that activation, which costs little; the others, through the tail, to keep what the answer
depends on: the Kullback-Leibler divergence to the uncut network's answer (Hinton et al. 2015, arXiv
1503.02531) and the squared error of its logits.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from bus.errors import ConfigurationError
from partition.bottleneck import BottleneckCodec, Info, digest, dump
from partition.bottleneck_pair import Pair, choose_form
from partition.partitioned import PartitionedModel
from partition.training.checkpoint import State, batch_of, write_atomically
from partition.training.data import Images
from partition.training.pieces import Pieces, freeze
from partition.training.schedule import rate_at

# Of the learning rate, once the loss goes through the tail: its gradients are steep and differ from batch to
# batch, and at the full rate a few dozen steps undo what the principal components knew.
_THROUGH_SHARE = 0.2
_STEEPEST = 1.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    Attributes:
        cut: index of the cut, neither the first nor the last.
        ratio: how many times smaller than the uint8 input the latent is, before zstd.
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
        form = choose_form(self._cut.shape, self._cut.dtype, limit, recipe.bits)
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
        self._optimiser = torch.optim.Adam(self.pair.parameters(), lr=recipe.rate)
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
            group["lr"] = rate
        batch = batch_of(self._recipe.seed, number, len(self._crossing), self._recipe.batch)
        loss = self._loss(self._crossing[batch], self._answers[batch], through=through)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        torch.nn.utils.clip_grad_norm_(self.pair.parameters(), _STEEPEST)
        self._optimiser.step()
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
        return BottleneckCodec(pair, cut=self._cut.name, network=self._model.hash)

    def state(self) -> State:
        """As `Training.state`."""
        return {"pair": self.pair.state_dict(), "optimiser": self._optimiser.state_dict()}

    def restore(self, state: State) -> None:
        """As `Training.restore`."""
        self.pair.load_state_dict(state["pair"])
        self._optimiser.load_state_dict(state["optimiser"])

    def save(self, path: Path) -> Info:
        """Write the pair with what was measured of it; return that."""
        measured = self.measure()
        info = Info(
            hash=digest(self._cut.name, self.pair.form, self.pair.state_dict()),
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
        write_atomically(path, dump(self.pair, info))
        return info

    def _loss(self, crossing: Tensor, answers: Tensor, *, through: bool) -> Tensor:
        made: Tensor = self.pair(crossing)
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
