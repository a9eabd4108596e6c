"""Images to learn from and images held out: read once, split by a seed, never mixed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bus.errors import ConfigurationError
from partition.images import Frame, Size, image_files, read_image
from partition.training.labels import Classes, Indices, require_teachable

# Of the images, when no folder of held-out ones is given.
HELD_OUT_SHARE = 0.25
# Fewer teach nothing, and leave nothing to measure on.
MIN_IMAGES = 8


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The class of every image, int64 (n,) each."""

    train: Indices
    held_out: Indices


@dataclass(frozen=True, slots=True)
class Images:
    """Frames uint8 (height, width, 3), read and split.

    Attributes:
        train: to learn from.
        held_out: never learnt from; what is measured and calibrated is measured on these.
        labels: the classes of both; None where none were given.
    """

    train: tuple[Frame, ...]
    held_out: tuple[Frame, ...]
    labels: Labels | None = None


def read_images(
    folder: Path,
    size: Size,
    *,
    held_out: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    classes: Classes | None = None,
) -> Images:
    """Read the images of a folder, cropped to `size`, and split them.

    Args:
        folder: images, also in folders below it.
        size: (height, width).
        held_out: a folder with other images to measure on; without it `HELD_OUT_SHARE` of the first one's.
            Neighbours of one film are nearly the same image: then give a folder.
        limit: the most images to take from each folder, drawn by `seed`.
        seed: of the split.
        classes: what the folders directly below are; without it the images have no labels.

    Raises:
        ConfigurationError: folder without images, an image that cannot be read, too few, or labels that do
            not suit them.
    """
    paths = _drawn(image_files(folder), limit, seed)
    known = _labels_of(folder, classes)
    if held_out is None:
        border = round(len(paths) * HELD_OUT_SHARE)
        unseen, paths = paths[:border], paths[border:]
    else:
        unseen = _drawn(image_files(held_out), limit, seed)
        known |= _labels_of(held_out, classes)
        learnt = {path.resolve() for path in paths}
        if any(path.resolve() in learnt for path in unseen):
            raise ConfigurationError(f"{held_out} holds images of {folder}: held-out ones must be others")
    if len(paths) + len(unseen) < MIN_IMAGES:
        raise ConfigurationError(
            f"{len(paths) + len(unseen)} images are too few: give at least {MIN_IMAGES}, better hundreds"
        )
    labels = None
    if classes is not None:
        own, others = ([known[path] for path in each] for each in (paths, unseen))
        require_teachable(own, others)
        labels = Labels(np.array(own, np.int64), np.array(others, np.int64))
    return Images(_read(paths, size), _read(unseen, size), labels)


def _labels_of(folder: Path, classes: Classes | None) -> dict[Path, int]:
    if classes is None:
        return {}
    paths = image_files(folder)
    return dict(zip(paths, classes.of(folder, paths), strict=True))


def _drawn(paths: Sequence[Path], limit: int | None, seed: int) -> list[Path]:
    order = np.random.default_rng(seed).permutation(len(paths))
    return [paths[index] for index in order[:limit]]


def _read(paths: Sequence[Path], size: Size) -> tuple[Frame, ...]:
    return tuple(read_image(path, size) for path in paths)
