"""How much of the uncut model's answer each codec keeps: `python -m partition.agreement NAME`.

A lossy codec may change the answer, and by how much depends on the weights: measure with your own.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bus.errors import ConfigurationError, LocalProtocolError, RemoteProtocolError
from partition.arms import Arm
from partition.bundle import encode
from partition.codecs.base import Encoded
from partition.images import Frame, MovingCrops, Size, image_files, read_images
from partition.networks.zoo import NAMES, load_model
from partition.partitioned import PartitionedModel, build
from partition.results import Kept, Logits

# Coprime to the frames a photograph lasts: the frames see all photographs, all along their paths.
_STRIDE = 13
_FRAMES = 64
# Top-1, cosine and error of an arm that gives no answer, or none that can be compared.
_NO_ANSWER = 0.0, 0.0, np.inf
_SEEDED = (
    "seeded: these weights are drawn, not trained; measure with yours (--weights FILE) to trust a lossy codec"
)
_DESCRIPTION = """\
Run every arm (cut, codec) of a network on your images, or on built-in photographs, and compare with the
uncut network.

columns:
  arm        cut/codec, as a policy chooses it
  cut after  the last layer that runs on the device
  bytes      on the wire for one frame, mean
  top-1      share of frames with the same best class; 1 means that the codec changed no answer
  cosine     between the logits, mean; 1 means the same direction
  max error  largest difference of any logit over all frames; inf where an arm gave no answer

float32, uint8, png and webp-lossless lose nothing, the other codecs do (docs/codecs.md has all of them).
Leave out those that lose more than you can bear, with the same --codecs for cans device and cans edge."""
_EPILOG = """\
examples:
  python -m partition.agreement mobilenet_v2 --weights mobilenet_v2.pth
  python -m partition.agreement mobilenet_v2 --weights mobilenet_v2.pth --images photos/
  python -m partition.agreement resnet18 --codecs int4-zstd3,webp80,png
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
        max_error: largest absolute difference of a logit over all frames; infinite where no answer came, or
            one with NaN.
        frames: how many.
    """

    arm: Arm
    payload_bytes: float
    top1: float
    cosine: float
    max_error: float
    frames: int


def measure(
    model: PartitionedModel, frames: Iterable[Frame], arms: Sequence[Arm] | None = None
) -> tuple[Agreement, ...]:
    """Run arms on every frame, at least one, and compare with the uncut model.

    Args:
        model: all arms and their codecs.
        frames: of its input size.
        arms: some that send; all of them when None.
    """
    chosen = model.arms[:-1] if arms is None else arms
    rows: dict[Arm, list[tuple[float, ...]]] = {arm: [] for arm in chosen}
    for frame in frames:
        whole = model.run_head(frame, model.device_only).logits
        assert whole is not None
        kept: dict[int, Kept] = {}
        for arm, row in rows.items():
            row.append(_against(whole, model, frame, arm, kept))
    return tuple(_summary(arm, row) for arm, row in rows.items())


def _against(
    whole: Logits, model: PartitionedModel, frame: Frame, arm: Arm, kept: dict[int, Kept]
) -> tuple[float, ...]:
    """Return what `Agreement` has means of; an arm that gives no answer at all agrees in nothing."""
    payload_bytes = 0
    try:
        sent = _sent(model, frame, arm, kept)
        payload_bytes = sent.payload_bytes
        logits = model.run_tail(arm.cut, arm.codec, sent.dtype, sent.shape, sent.payload).logits
    except (LocalProtocolError, RemoteProtocolError):
        return payload_bytes, *_NO_ANSWER
    return payload_bytes, *compare(logits, whole)


def compare(logits: Logits, whole: Logits) -> tuple[float, float, float]:
    """Return top-1 (0 or 1), cosine and largest error of an answer against the uncut network's.

    Equal answers have cosine 1, all-zero ones too, which have no direction; of two others, one without a
    direction (all zero, or infinite somewhere) has cosine 0 with any. NaN on either side agrees in nothing.

    Args:
        logits: of an arm, (classes,).
        whole: of the uncut network, the same shape.
    """
    # float64: squares of large or tiny float32 are no longer numbers of its range.
    mine, other = logits.astype(np.float64), whole.astype(np.float64)
    if np.isnan(mine).any() or np.isnan(other).any():
        return _NO_ANSWER
    unequal = mine != other
    # Where both are the same infinity, their difference would be NaN.
    error = np.abs(np.subtract(mine, other, out=np.zeros_like(mine), where=unequal)).max()
    lengths = [float(np.linalg.norm(each)) for each in (mine, other)]
    cosine = 0.0 if unequal.any() else 1.0
    if unequal.any() and all(0.0 < length < np.inf for length in lengths):
        cosine = float(mine @ other) / (lengths[0] * lengths[1])
    return float(mine.argmax() == other.argmax()), cosine, float(error)


def _sent(model: PartitionedModel, frame: Frame, arm: Arm, kept: dict[int, Kept]) -> Encoded:
    """Return what an arm sends of a frame; the arms of a cut share its head, which `kept` holds."""
    codec = model.codecs[arm.codec]
    if codec.encodes_frames:
        return codec.encode(frame)
    if arm.cut not in kept:
        head = model.run_head(frame, arm)
        assert isinstance(head.kept, Kept)
        kept[arm.cut] = head.kept
    return encode(codec, kept[arm.cut].crossing)


def banned(rows: Iterable[Agreement], min_agreement: float) -> tuple[Arm, ...]:
    """Return the arms whose share of frames with the same best class is below `min_agreement`.

    Args:
        rows: of `measure`.
        min_agreement: 0 to 1; 0 bans none.

    Raises:
        ConfigurationError: `min_agreement` is no such share.
    """
    # Written so that NaN fails too.
    if not 0.0 <= min_agreement <= 1.0:
        raise ConfigurationError(f"an agreement is a share from 0 to 1, such as 0.99, not {min_agreement}")
    return tuple(row.arm for row in rows if row.top1 < min_agreement)


def _summary(arm: Arm, row: Sequence[tuple[float, ...]]) -> Agreement:
    table = np.array(row)
    payload_bytes, top1, cosine, _ = table.mean(axis=0)
    return Agreement(
        arm, float(payload_bytes), float(top1), float(cosine), float(table[:, 3].max()), len(row)
    )


def built_in_frames(count: int, size: Size, seed: int = 0) -> Iterator[Frame]:
    """Yield frames (height, width, 3) of photographs that are far apart."""
    film = MovingCrops(seed, size)
    yield from (film.frame(_STRIDE * number) for number in range(count))


def table(model: PartitionedModel, rows: Iterable[Agreement]) -> str:
    """Return the rows as text."""
    rows = tuple(rows)
    width = max(16, *(len(row.arm.label) + 2 for row in rows))
    lines = [
        f"{model.name}, weights {model.weights_label}, model {model.hash}",
        f"{'arm':<{width}}{'cut after':<16}{'bytes':>9}  {'top-1':>6}  {'cosine':>8}  {'max error':>9}",
    ]
    for row in rows:
        name = model.cuts[row.arm.cut].name
        lines.append(
            f"{row.arm.label:<{width}}{name:<16}{row.payload_bytes:>9.0f}  {row.top1:>6.3f}  "
            f"{row.cosine:>8.5f}  {row.max_error:>9.4f}"
        )
    if _seeded(model):
        lines.append(_SEEDED)
    return "\n".join(lines)


def report(model: PartitionedModel, rows: Sequence[Agreement]) -> str:
    """Return the rows as JSON: what was measured, and one map an arm."""
    found = {
        "network": model.name,
        "weights": model.weights_label,
        "seeded": _seeded(model),
        "model": model.hash,
        "frames": rows[0].frames if rows else 0,
        "arms": [
            {
                "arm": row.arm.label,
                "cut": row.arm.cut,
                "cut_after": model.cuts[row.arm.cut].name,
                "codec": row.arm.codec,
                "payload_bytes": row.payload_bytes,
                "top1": row.top1,
                "cosine": row.cosine,
                # JSON has no infinity: null where the arm gave no answer at all.
                "max_error": row.max_error if np.isfinite(row.max_error) else None,
            }
            for row in rows
        ],
    }
    return json.dumps(found, indent=2, allow_nan=False)


def frames_of(
    images: Path | None, size: tuple[int, int], *, count: int | None = None, seed: int = 0
) -> Iterator[Frame]:
    """Yield frames to measure with; an image that cannot be read is named on standard error, and skipped.

    Args:
        images: a folder; None for the built-in photographs.
        size: (height, width).
        count: at most so many; None for all images of the folder, or 64.
        seed: of the built-in ones.

    Raises:
        ConfigurationError: no such folder, or no image in it that can be read.
    """
    if images is None:
        yield from built_in_frames(count or _FRAMES, size, seed)
        return
    for path, frame in read_images(image_files(images, count), size):
        if frame is None:
            sys.stderr.write(f"skipped, no image that can be read: {path}\n")
        else:
            yield frame


def _counted(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Yield the frames, and say on a terminal how many have been measured."""
    terminal = sys.stderr.isatty()
    for number, frame in enumerate(frames):
        if terminal:
            sys.stderr.write(f"\r{number} frames measured")
            sys.stderr.flush()
        yield frame
    if terminal:
        sys.stderr.write("\r\x1b[K")


def _seeded(model: PartitionedModel) -> bool:
    return model.weights_label.startswith("seeded")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of one network."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.frames is not None and options.frames < 1:
        parser.exit(
            2, f"{parser.prog}: --frames {options.frames} leaves nothing to measure: give 1 or more\n"
        )
    try:
        network = load_model(options.model, weights=options.weights, seed=options.weights_seed)
        model = build(network, codecs=options.codecs.split(",") if options.codecs else None)
        frames = frames_of(options.images, model.input_size, count=options.frames, seed=options.seed)
        rows = measure(model, _counted(frames))
    except ConfigurationError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"{parser.prog}: interrupted\n")
    text = report(model, rows) if options.json else table(model, rows)
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
        "--images", type=Path, metavar="DIR", help="a folder of your images; built-in ones when not given"
    )
    parser.add_argument(
        "--codecs", help="codecs, comma separated; the default ones when not given (docs/codecs.md)"
    )
    parser.add_argument(
        "--frames", type=int, help=f"at most so many (default: {_FRAMES} built-in ones, or all your images)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the frames (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    return parser


if __name__ == "__main__":
    main()
