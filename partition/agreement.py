"""How much of the uncut model's answer each codec keeps: `python -m partition.agreement NAME`."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from partition.arms import Arm
from partition.images import Frame, MovingCrops
from partition.partitioned import PartitionedModel, build
from partition.zoo import NAMES, load_model

# Coprime to the frames a photograph lasts: the frames see all photographs, all along their paths.
_STRIDE = 13


@dataclass(frozen=True, slots=True)
class Agreement:
    """One arm against the uncut model.

    Attributes:
        arm: which one.
        payload_bytes: mean bytes on the wire.
        top1: share of frames with the same top-1 class.
        cosine: mean cosine between the logits.
        max_error: largest absolute difference of a logit over all frames.
    """

    arm: Arm
    payload_bytes: float
    top1: float
    cosine: float
    max_error: float


def measure(model: PartitionedModel, frames: Iterable[Frame]) -> tuple[Agreement, ...]:
    """Run every arm that sends something on every frame and compare with the uncut model."""
    rows: dict[Arm, list[tuple[float, float, float, float]]] = {arm: [] for arm in model.arms[:-1]}
    for frame in frames:
        whole = model.run_head(frame, model.device_only).logits
        assert whole is not None
        for arm, row in rows.items():
            head = model.run_head(frame, arm)
            assert head.payload is not None
            logits = model.run_tail(arm.cut, arm.codec, head.dtype, head.shape, head.payload).logits
            cosine = float(logits @ whole / (np.linalg.norm(logits) * np.linalg.norm(whole)))
            same = float(logits.argmax() == whole.argmax())
            row.append((head.payload_bytes, same, cosine, float(np.abs(logits - whole).max())))
    return tuple(_summary(arm, row) for arm, row in rows.items())


def _summary(arm: Arm, row: Sequence[tuple[float, float, float, float]]) -> Agreement:
    table = np.array(row)
    payload_bytes, top1, cosine, _ = table.mean(axis=0)
    return Agreement(arm, float(payload_bytes), float(top1), float(cosine), float(table[:, 3].max()))


def table(model: PartitionedModel, rows: Iterable[Agreement]) -> str:
    """Return the rows as text."""
    lines = [
        f"{model.name}, weights {model.weights_label}, model {model.hash}",
        f"{'arm':<16}{'cut after':<16}{'bytes':>9}  {'top-1':>6}  {'cosine':>8}  {'max error':>9}",
    ]
    for row in rows:
        name = model.cuts[row.arm.cut].name
        lines.append(
            f"{row.arm.label:<16}{name:<16}{row.payload_bytes:>9.0f}  {row.top1:>6.3f}  {row.cosine:>8.5f}  "
            f"{row.max_error:>9.4f}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of one network."""
    parser = argparse.ArgumentParser(prog="python -m partition.agreement", description=__doc__)
    parser.add_argument("model", nargs="?", default=NAMES[0], help=f"{', '.join(NAMES)} or module:callable")
    parser.add_argument("--frames", type=int, default=64, help="how many built-in frames")
    parser.add_argument("--seed", type=int, default=0, help="of weights and frames")
    options = parser.parse_args(arguments)
    model = build(load_model(options.model, seed=options.seed))
    film = MovingCrops(options.seed, model.input_size)
    rows = measure(model, (film.frame(_STRIDE * number) for number in range(options.frames)))
    sys.stdout.write(table(model, rows) + "\n")


if __name__ == "__main__":
    main()
