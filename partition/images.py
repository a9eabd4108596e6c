"""Frames without a camera: moving crops of the photographs inside scikit-image, and image files.

Everything here is local: the photographs lie in scikit-image's wheel, nothing is ever downloaded.
A frame is a uint8 array (height, width, 3), RGB, C order.
"""

import functools
import importlib.util
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from bus.errors import ConfigurationError

Frame = npt.NDArray[np.uint8]
Size = tuple[int, int]

PHOTOGRAPHS = (
    "astronaut.png",
    "coffee.png",
    "chelsea.png",
    "motorcycle_left.png",
    "rocket.jpg",
    "hubble_deep_field.jpg",
    "camera.png",
    "ihc.png",
)
FRAMES_PER_PHOTOGRAPH = 32
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
# An image file larger than this is refused before it is decoded: 64 megapixels.
MAX_FILE_PIXELS = 64 * 1024 * 1024


@functools.lru_cache(maxsize=len(PHOTOGRAPHS))
def photograph(name: str) -> Image.Image:
    """Return one of `PHOTOGRAPHS` as an RGB image.

    Raises:
        ConfigurationError: if scikit-image does not hold it.
    """
    spec = importlib.util.find_spec("skimage")
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    for folder in folders:
        path = Path(folder) / "data" / name
        if path.is_file():
            with Image.open(path) as image:
                return image.convert("RGB")
    raise ConfigurationError(
        f"the photograph {name} is not in scikit-image: reinstall it, or give your own images"
    )


class MovingCrops:
    """An endless film: a window gliding over one photograph after another.

    The same (seed, index) gives the same frame in every process; neighbours differ by a few pixels.

    Args:
        seed: chooses the order of the photographs and the path of the window.
        size: (height, width) of a frame.
    """

    def __init__(self, seed: int, size: Size = (224, 224)) -> None:
        self.seed = seed
        self.size = size

    def frame(self, index: int) -> Frame:
        """Return frame `index` >= 0."""
        shot, step = divmod(index, FRAMES_PER_PHOTOGRAPH)
        turn, position = divmod(shot, len(PHOTOGRAPHS))
        order = np.random.default_rng([self.seed, turn]).permutation(len(PHOTOGRAPHS))
        image = photograph(PHOTOGRAPHS[int(order[position])])
        phase = np.random.default_rng([self.seed, turn, position + 1]).random(4) * math.tau
        # Slow sines, so that speed stays bounded: at most about 1 % of the free width a frame.
        angle = math.tau * step / (4 * FRAMES_PER_PHOTOGRAPH)
        across, down, zoom = (0.5 + 0.5 * math.sin(angle + float(phase[axis])) for axis in range(3))
        box = _window(image.size, self.size, share=0.55 + 0.35 * zoom, across=across, down=down)
        height, width = self.size
        return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=box))

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while True:
            yield self.frame(index)
            index += 1


def _window(
    image: tuple[int, int], size: Size, *, share: float, across: float, down: float
) -> tuple[float, float, float, float]:
    """Return the box (left, upper, right, lower) of the wanted aspect, `share` of the largest that fits."""
    scale = share * min(image[0] / size[1], image[1] / size[0])
    width, height = size[1] * scale, size[0] * scale
    left, upper = across * (image[0] - width), down * (image[1] - height)
    return left, upper, left + width, upper + height


def fit(image: Image.Image, size: Size = (224, 224)) -> Frame:
    """Return an image cropped at its centre to the aspect of `size`, then resized to it."""
    rgb = image.convert("RGB")
    box = _window(rgb.size, size, share=1.0, across=0.5, down=0.5)
    return np.asarray(rgb.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box))


def fit_array(frame: Frame, size: Size = (224, 224)) -> Frame:
    """Return a camera's or a video's frame (height, width, 3) cropped and resized to `size`."""
    return frame if frame.shape[:2] == size else fit(Image.fromarray(frame), size)


def read_image(path: Path, size: Size = (224, 224)) -> Frame:
    """Read an image file, upright, cropped at its centre and resized to `size` (height, width).

    Raises:
        ConfigurationError: if the file is missing, no image, damaged, or larger than `MAX_FILE_PIXELS`.
    """
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_FILE_PIXELS:
                raise ConfigurationError(
                    f"{path} has {image.width} x {image.height} pixels: the limit is {MAX_FILE_PIXELS} in all"
                )
            return fit(ImageOps.exif_transpose(image), size)
    except UnidentifiedImageError:
        raise ConfigurationError(f"{path} is not an image: give a JPEG, PNG or other image file") from None
    except (
        OSError,
        ValueError,
        SyntaxError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise ConfigurationError(f"cannot read the image {path}: {error}") from None


def image_files(folder: Path, most: int | None = None) -> list[Path]:
    """Return the image files of a folder and of those below it, by name.

    Args:
        folder: where.
        most: so many at most, spread evenly over all: folders often hold one scene after another.

    Raises:
        ConfigurationError: there is no such folder, or no image in it.
    """
    try:
        next(folder.iterdir(), None)  # what is no folder is an error, and not merely empty
    except OSError as error:
        raise ConfigurationError(f"cannot read the folder {folder}: {error.strerror}") from None
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise ConfigurationError(f"{folder} holds no image: put JPEG or PNG files there")
    if most is None or most >= len(paths):
        return paths
    return [paths[at * len(paths) // most] for at in range(most)]


def read_images(paths: Sequence[Path], size: Size = (224, 224)) -> Iterator[tuple[Path, Frame | None]]:
    """Read image files one after another; None for one that cannot be read.

    Raises:
        ConfigurationError: none of them can be read; the sentence is that of the last.
    """
    bad = 0
    for path in paths:
        try:
            frame = read_image(path, size)
        except ConfigurationError:
            bad += 1
            if bad == len(paths):
                raise
            frame = None
        yield path, frame
