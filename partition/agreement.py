"""How much of the uncut model's answer each codec keeps: `python -m partition.agreement NAME`.

A lossy codec may change the answer, and by how much depends on the weights: measure with your own.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bus.errors import ConfigurationError
from partition.arms import Arm
from partition.images import Frame, MovingCrops
from partition.partitioned import PartitionedModel, build
from partition.zoo import NAMES, load_model

# Coprime to the frames a photograph lasts: the frames see all photographs, all along their paths.
_STRIDE = 13
_SEEDED = (
    "seeded: these weights are drawn, not trained; measure with yours (--weights FILE) to trust a lossy codec"
)
_DESCRIPTION = """\
Run every arm (cut, codec) of a network on built-in photographs, and compare with the uncut network.

columns:
  arm        cut/codec, as a policy chooses it
  cut after  the last layer that runs on the device
  bytes      on the wire for one frame, mean
  top-1      share of frames with the same best class; 1 means that the codec changed no answer
  cosine     between the logits, mean; 1 means the same direction
  max error  largest difference of any logit over all frames

float32 and uint8 lose nothing, the other codecs do. Leave out those that lose more than you can bear, with
the same --codecs for cans device and cans edge."""
_EPILOG = """\
examples:
  python -m partition.agreement mobilenet_v2 --weights mobilenet_v2.pth
  python -m partition.agreement resnet18 --frames 200 --json > agreement.json

exit codes: 0 done, 2 a setting cannot work"""


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
    if _seeded(model):
        lines.append(_SEEDED)
    return "\n".join(lines)


def report(model: PartitionedModel, rows: Iterable[Agreement], frames: int) -> str:
    """Return the rows as JSON: what was measured, and one map an arm."""
    found = {
        "network": model.name,
        "weights": model.weights_label,
        "seeded": _seeded(model),
        "model": model.hash,
        "frames": frames,
        "arms": [
            {
                "arm": row.arm.label,
                "cut": row.arm.cut,
                "cut_after": model.cuts[row.arm.cut].name,
                "codec": row.arm.codec,
                "payload_bytes": row.payload_bytes,
                "top1": row.top1,
                "cosine": row.cosine,
                "max_error": row.max_error,
            }
            for row in rows
        ],
    }
    return json.dumps(found, indent=2)


def _seeded(model: PartitionedModel) -> bool:
    return model.weights_label.startswith("seeded")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of one network."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.frames < 1:
        parser.exit(
            2, f"{parser.prog}: --frames {options.frames} leaves nothing to measure: give 1 or more\n"
        )
    try:
        network = load_model(options.model, weights=options.weights, seed=options.weights_seed)
        model = build(network)
    except ConfigurationError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    film = MovingCrops(options.seed, model.input_size)
    rows = measure(model, (film.frame(_STRIDE * number) for number in range(options.frames)))
    text = report(model, rows, options.frames) if options.json else table(model, rows)
    sys.stdout.write(text + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m partition.agreement",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model",
        nargs="?",
        default=NAMES[0],
        help=f"{', '.join(NAMES)} or module:callable (default: %(default)s)",
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="weights of the network; seeded ones when not given"
    )
    parser.add_argument(
        "--weights-seed",
        type=int,
        default=0,
        help="seed of weights that come from no file (default: %(default)s)",
    )
    parser.add_argument(
        "--frames", type=int, default=64, help="how many built-in frames (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the frames (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    return parser


if __name__ == "__main__":
    main()
