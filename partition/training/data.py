"""Images to learn from and images held out: read once, split by a seed, never mixed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bus.errors import ConfigurationError
from partition.images import Frame, Size, read_image

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff"})
# Of the images, when no folder of held-out ones is given.
HELD_OUT_SHARE = 0.25
# Fewer teach nothing, and leave nothing to measure on.
MIN_IMAGES = 8


@dataclass(frozen=True, slots=True)
class Images:
    """Frames uint8 (height, width, 3), read and split.

    Attributes:
        train: to learn from.
        held_out: never learnt from; what is measured and calibrated is measured on these.
    """

    train: tuple[Frame, ...]
    held_out: tuple[Frame, ...]


def image_paths(folder: Path) -> list[Path]:
    """Return the image files in a folder and below it, in the order of their names.

    Raises:
        ConfigurationError: no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"there is no folder {folder}: give one that holds images")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ConfigurationError(f"no image in {folder}: put JPEG, PNG or other image files there")
    return paths


def read_images(
    folder: Path, size: Size, *, held_out: Path | None = None, limit: int | None = None, seed: int = 0
) -> Images:
    """Read the images of a folder, cropped to `size`, and split them.

    Args:
        folder: images, also in folders below it.
        size: (height, width).
        held_out: a folder with other images to measure on; without it `HELD_OUT_SHARE` of the first one's.
            Neighbours of one film are nearly the same image: then give a folder.
        limit: the most images to take from each folder, drawn by `seed`.
        seed: of the split.

    Raises:
        ConfigurationError: folder without images, an image that cannot be read, too few.
    """
    paths = _drawn(image_paths(folder), limit, seed)
    if held_out is None:
        border = round(len(paths) * HELD_OUT_SHARE)
        unseen, paths = paths[:border], paths[border:]
    else:
        unseen = _drawn(image_paths(held_out), limit, seed)
        known = {path.resolve() for path in paths}
        if any(path.resolve() in known for path in unseen):
            raise ConfigurationError(f"{held_out} holds images of {folder}: held-out ones must be others")
    if len(paths) + len(unseen) < MIN_IMAGES:
        raise ConfigurationError(
            f"{len(paths) + len(unseen)} images are too few: give at least {MIN_IMAGES}, better hundreds"
        )
    return Images(_read(paths, size), _read(unseen, size))


def _drawn(paths: Sequence[Path], limit: int | None, seed: int) -> list[Path]:
    order = np.random.default_rng(seed).permutation(len(paths))
    return [paths[index] for index in order[:limit]]


def _read(paths: Sequence[Path], size: Size) -> tuple[Frame, ...]:
    return tuple(read_image(path, size) for path in paths)
