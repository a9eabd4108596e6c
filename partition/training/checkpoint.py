"""Training that can be killed: a loop whose every step follows from its number and the last state.

Each file is written beside the old one and renamed over it, so a kill or a full disk leaves the old one.
Batches are drawn from (seed, step) and not from a generator's state: resuming repeats nothing, skips nothing.
"""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from bus.errors import ConfigurationError

State = dict[str, Any]
InfoT_co = TypeVar("InfoT_co", covariant=True)


class Training(Protocol[InfoT_co]):
    """Something that is trained step by step.

    Attributes:
        identity: what it is and on what, as text; a checkpoint of another identity is refused.
        steps: how many in all.
    """

    @property
    def identity(self) -> str: ...  # noqa: D102 - see the class
    @property
    def steps(self) -> int: ...  # noqa: D102

    def step(self, number: int) -> float:
        """Do step `number`, from 0, and return its loss."""
        ...

    def agreement(self) -> float:
        """Return the share of held-out images that get the uncut network's answer."""
        ...

    def state(self) -> State:
        """Return weights and optimiser: tensors, numbers and text only."""
        ...

    def restore(self, state: State) -> None:
        """Go back to a state."""
        ...

    def save(self, path: Path) -> InfoT_co:
        """Measure what was trained, write it to a file, and return what the file says of itself."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """Where training is.

    Attributes:
        step: how many are done.
        loss: of the last one.
        agreement: on held-out images, when it was measured at this step.
    """

    step: int
    loss: float
    agreement: float | None


def run(
    training: Training[object],
    checkpoint: Path,
    *,
    resume: bool = False,
    every: int = 50,
    report: Callable[[Progress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Train to the end, or until `stop` says so; return whether the end was reached.

    Args:
        training: what.
        checkpoint: its file, written every `every` steps and when it stops.
        resume: go on from that file.
        every: steps between checkpoints and measurements of the agreement.
        report: told after each step.
        stop: asked after each step.

    Raises:
        ConfigurationError: no checkpoint, or a foreign one; the disk is full: the last one is still there.
    """
    done = _restore(training, checkpoint) if resume else 0
    while done < training.steps:
        loss = training.step(done)
        done += 1
        stopping = stop()
        due = done % every == 0 or done == training.steps
        if due or stopping:
            _save(training, checkpoint, done)
        report(Progress(done, loss, training.agreement() if due else None))
        if stopping:
            break
    return done >= training.steps


def batch_of(seed: int, step: int, count: int, size: int) -> torch.Tensor:
    """Return the indices of step `step`, int64 (size,), drawn without replacement from `count`."""
    indices = np.random.default_rng([seed, step]).permutation(count)[:size]
    return torch.from_numpy(indices)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file by `data`, or leave it as it is.

    Raises:
        ConfigurationError: disk full, no such folder, no permission.
    """
    temporary = path.with_name(path.name + ".new")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        reason = (error.strerror or str(error)).lower()
        raise ConfigurationError(
            f"cannot write {path}: {reason}; what was there before still is; make room"
        ) from None


def _save(training: Training[object], path: Path, done: int) -> None:
    buffer = io.BytesIO()
    torch.save({"identity": training.identity, "done": done, "state": training.state()}, buffer)
    write_atomically(path, buffer.getvalue())


def _restore(training: Training[object], path: Path) -> int:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        identity, done, state = str(loaded["identity"]), int(loaded["done"]), loaded["state"]
    except FileNotFoundError:
        raise ConfigurationError(f"there is no checkpoint {path}: leave out --resume to begin") from None
    except Exception:  # noqa: BLE001 - torch's readers raise anything on a foreign file
        raise ConfigurationError(f"{path} is no checkpoint: remove it and leave out --resume") from None
    if identity != training.identity:
        raise ConfigurationError(
            f"the checkpoint {path} is of another training, {identity}: leave out --resume"
        )
    training.restore(state)
    return done
