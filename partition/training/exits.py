"""Trains and calibrates early exits: each head learns the uncut network's answer, or labels if given.

What a threshold keeps is agreement with the network in either case: labels teach, they do not calibrate.
Three sets of images, none of which another one sees: to learn from, to calibrate on, and to measure on.
"""

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from bus.errors import ConfigurationError
from partition.arms import Cut
from partition.images import Frame
from partition.networks.exit_heads import ExitHead, Info, Rule, TrainedExits, dump
from partition.partitioned import PartitionedModel
from partition.preprocessing import normalise
from partition.training.checkpoint import State, batch_of, write_atomically
from partition.training.data import HELD_OUT_SHARE, Images, Labels
from partition.training.pieces import Pieces, freeze
from partition.training.schedule import rate_at
from partition.training.thresholds import images_needed, temperature_of, threshold_of

_TIMED = 15


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    Attributes:
        after: names or numbers of cuts, in order.
        agreement: share of the whole network's answers that each exit alone must keep.
        steps: in all.
        batch: images a step.
        rate: learning rate at its highest.
        seed: of weights and batches.
    """

    after: tuple[str, ...]
    agreement: float = 0.99
    steps: int = 400
    batch: int = 32
    rate: float = 3e-3
    seed: int = 0


class ExitsTraining:
    """Implements `Training`.

    Args:
        model: whole, on the CPU; its weights stay as they are.
        images: uint8 frames of its input size; half of those held out calibrate, the others measure. If they
            have labels, these are learnt (cross entropy) and not the network's answers (Kullback-Leibler
            divergence).
        recipe: how to train.

    Raises:
        ConfigurationError: no such cut, not in order, too few images for the agreement, or a label that is
            none of the network's classes.
    """

    def __init__(self, model: PartitionedModel, images: Images, recipe: Recipe) -> None:
        self._cuts = tuple(_cut_named(model, name) for name in recipe.after)
        _require_order(self._cuts)
        border = (len(images.held_out) + 1) // 2
        _require_enough(len(images.held_out), recipe.agreement)
        _require_classes(images.labels, model)
        self._model, self._recipe, self.steps = model, recipe, recipe.steps
        freeze(model)
        self._pieces = Pieces(model, images.train[0])
        stops = [*(cut.index for cut in self._cuts), len(model.cuts) - 1]
        *self._taps, self._answers = self._pieces.walk(images.train, stops)
        self._calibration = self._pieces.walk(images.held_out[:border], stops)
        self._test = self._pieces.walk(images.held_out[border:], stops)
        self._labels = None if images.labels is None else torch.from_numpy(images.labels.train)
        self._test_labels = None if images.labels is None else images.labels.held_out[border:]
        self._frames = images.held_out[:_TIMED]
        self.heads = self._new_heads(recipe.seed)
        self._optimiser = torch.optim.Adam(self.heads.parameters(), lr=recipe.rate)
        self.identity = (
            f"exits, model {model.hash}, {recipe}, {len(images.train)} images, "
            f"{len(images.held_out)} held out, answers {float(self._answers.double().abs().sum()):.6g}"
        )
        if images.labels is not None:
            self.identity += f", labels {_digest(images.labels)}"

    def step(self, number: int) -> float:
        """As `Training.step`."""
        for group in self._optimiser.param_groups:
            group["lr"] = rate_at(number, self.steps, self._recipe.rate)
        batch = batch_of(self._recipe.seed, number, len(self._answers), self._recipe.batch)
        loss = torch.zeros(())
        for head, tap in zip(self.heads, self._taps, strict=True):
            loss = loss + self._loss(head(tap[batch]), batch)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        self._optimiser.step()
        return float(loss.detach())

    def _loss(self, logits: Tensor, batch: Tensor) -> Tensor:
        """Return how far logits (n, classes) are from what the images `batch` (n,) should give."""
        if self._labels is not None:
            return functional.cross_entropy(logits, self._labels[batch])
        return functional.kl_div(
            functional.log_softmax(logits, 1),
            functional.log_softmax(self._answers[batch], 1),
            reduction="batchmean",
            log_target=True,
        )

    def agreement(self) -> float:
        """Return how often the last exit would give the uncut network's answer, sure or not."""
        *taps, answers = self._calibration
        with torch.no_grad():
            return float((self.heads[-1](taps[-1]).argmax(1) == answers.argmax(1)).float().mean())

    def state(self) -> State:
        """As `Training.state`."""
        return {"heads": self.heads.state_dict(), "optimiser": self._optimiser.state_dict()}

    def restore(self, state: State) -> None:
        """As `Training.restore`."""
        self.heads.load_state_dict(state["heads"])
        self._optimiser.load_state_dict(state["optimiser"])

    def save(self, path: Path) -> Info:
        """Calibrate, measure, write; return what was written."""
        trained = self.calibrate()
        write_atomically(path, dump(trained))
        return trained.info

    def calibrate(self) -> TrainedExits:
        """Return the heads with temperatures and thresholds, measured on images that chose neither."""
        heads = self._new_heads(self._recipe.seed)
        heads.load_state_dict(self.heads.state_dict())
        trunk_ms, head_ms = self._times()
        whole_ms = trunk_ms[-1]
        rules = []
        for number, (cut, head) in enumerate(zip(self._cuts, heads, strict=True)):
            logits, answers = _run(head, self._calibration[number], self._calibration[-1])
            temperature = temperature_of(logits, answers)
            head.get_buffer("temperature").fill_(temperature)
            # From here on in float32 as at run time: the threshold is one of the confidences it will meet.
            logits, answers = _run(head, self._calibration[number], self._calibration[-1])
            threshold = threshold_of(_confidence(logits), logits.argmax(1) == answers, self._recipe.agreement)
            logits, answers = _run(head, self._test[number], self._test[-1])
            sure = _confidence(logits) >= threshold
            top = logits.argmax(1)
            agrees = top == answers
            answered = float(sure.mean())
            rules.append(
                Rule(
                    after=cut.name,
                    shape=cut.shape,
                    classes=logits.shape[1],
                    threshold=threshold,
                    temperature=temperature,
                    answered=answered,
                    agreement=float(agrees[sure].mean()) if sure.any() else 1.0,
                    kept=float((agrees | ~sure).mean()),
                    trunk_ms=trunk_ms[number],
                    head_ms=head_ms[number],
                    latency_ms=trunk_ms[number]
                    + head_ms[number]
                    + (1 - answered) * (whole_ms - trunk_ms[number]),
                    accuracy=self._accuracy(top),
                    accuracy_together=self._accuracy(np.where(sure, top, answers)),
                )
            )
        info = Info(
            network=self._model.hash,
            model=self._model.name,
            rules=tuple(rules),
            target=self._recipe.agreement,
            steps=self.steps,
            seed=self._recipe.seed,
            calibrated=len(self._calibration[-1]),
            held_out=len(self._test[-1]),
            whole_ms=whole_ms,
            whole_accuracy=self._accuracy(self._test[-1].argmax(1).numpy()),
        )
        return TrainedExits(info, tuple(each for each in heads if isinstance(each, ExitHead)))

    def _accuracy(self, top: npt.NDArray[np.int64]) -> float | None:
        """Return the share of answers (n,) to the images that measure which are their labels."""
        return None if self._test_labels is None else float((top == self._test_labels).mean())

    def _new_heads(self, seed: int) -> torch.nn.ModuleList:
        classes = self._answers.shape[1]
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            heads = [ExitHead(cut.shape, classes) for cut in self._cuts]
            for head, tap in zip(heads, self._taps, strict=True):
                head.fit_input(tap)
        return torch.nn.ModuleList(heads)

    def _times(self) -> tuple[list[float], list[float]]:
        """Return median milliseconds to each tap and to the end, and of each head."""
        stops = [*(cut.index for cut in self._cuts), len(self._model.cuts) - 1]
        trunk = np.zeros((len(self._frames), len(stops)))
        heads = np.zeros((len(self._frames), len(self._cuts)))
        with torch.inference_mode():
            for row, frame in enumerate(self._frames):
                self._time(frame, stops, trunk[row], heads[row])
        return np.median(trunk, axis=0).tolist(), np.median(heads, axis=0).tolist()

    def _time(
        self,
        frame: Frame,
        stops: Sequence[int],
        trunk: npt.NDArray[np.float64],
        heads: npt.NDArray[np.float64],
    ) -> None:
        started = time.perf_counter()
        x, start, spent = normalise(frame), 0, 0.0
        for place, stop in enumerate(stops):
            x, start = self._pieces.run(start, stop, x), stop
            spent += time.perf_counter() - started
            trunk[place] = spent * 1e3
            started = time.perf_counter()
            if place < len(heads):
                self.heads[place](x)
                heads[place] = (time.perf_counter() - started) * 1e3
                started = time.perf_counter()


def _require_enough(held_out: int, agreement: float) -> None:
    """Say now, not after some minutes of training, that no threshold could be chosen."""
    border = (held_out + 1) // 2
    wanted = images_needed(agreement)
    if border < wanted or border == held_out:
        most = max(2 * wanted - 1, wanted + 1)
        raise ConfigurationError(
            f"{held_out} held-out images are too few to promise an agreement of {agreement}: half of them "
            f"calibrate, so it takes {most}, that is {math.ceil(most / HELD_OUT_SHARE)} in --images or "
            f"{most} in --held-out; or ask for less (--agreement)"
        )


def _require_classes(labels: Labels | None, model: PartitionedModel) -> None:
    if labels is None:
        return
    largest = int(max(labels.train.max(), labels.held_out.max()))
    if largest >= model.answer_elements:
        raise ConfigurationError(
            f"there is a label {largest}, and {model.name} has the classes 0 to {model.answer_elements - 1}: "
            "name each folder's class as the network counts them"
        )


def _digest(labels: Labels) -> str:
    said = hashlib.sha256()
    for each in (labels.train, labels.held_out):
        said.update(each.astype("<i8").tobytes())
    return said.hexdigest()[:12]


def _run(
    head: torch.nn.Module, taps: Tensor, answers: Tensor
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return a head's logits (n, classes) and the whole network's classes (n,)."""
    with torch.no_grad():
        # One by one, as at run time: a batch gives other last bits.
        logits = torch.cat([head(tap) for tap in torch.split(taps, 1)])
    return logits.double().numpy(), answers.argmax(1).numpy()


def _confidence(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the softmax of the best class, (n,)."""
    confidence: npt.NDArray[np.float64] = 1.0 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)
    return confidence


def _cut_named(model: PartitionedModel, name: str) -> Cut:
    for cut in model.cuts[1:-1]:
        if name in {cut.name, str(cut.index)}:
            if cut.dtype != "float32" or len(cut.shape) not in {2, 3, 4}:
                raise ConfigurationError(f"no exit can follow {name}: {cut.dtype} {cut.shape} crosses there")
            return cut
    names = ", ".join(f"{cut.index} {cut.name}" for cut in model.cuts[1:-1])
    raise ConfigurationError(f"{model.name} has no cut {name!r} for an exit: choose from {names}")


def _require_order(cuts: Sequence[Cut]) -> None:
    indices = [cut.index for cut in cuts]
    if not indices or indices != sorted(set(indices)):
        raise ConfigurationError("--after takes one cut or more, each once, in their order")
