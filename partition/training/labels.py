"""Labels from folders: DIR/CLASS/*.png, and which of the network's outputs each CLASS is.

Nothing is guessed: a folder that is not named, or a class without an image, is one sentence before anything
is trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from bus.errors import ConfigurationError

# Instead of a file: the folders are named by the indices themselves.
FOLDERS = "folders"
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Classes:
    """Which output stands for which folder.

    Attributes:
        indices: by the folder's name; None if the name is the index.
        said: where that was said, for people.
    """

    indices: dict[str, int] | None
    said: str

    def of(self, folder: Path, paths: Sequence[Path]) -> list[int]:
        """Return the index of each image, by the folder directly below `folder` that it lies in.

        Args:
            folder: as given by a person.
            paths: all images in it and below it.

        Raises:
            ConfigurationError: an image outside the folders, a folder without an index or without an image.
        """
        names = [path.relative_to(folder).parts[0] for path in paths]
        for name, path in zip(names, paths, strict=True):
            if folder / name == path:
                raise ConfigurationError(f"{path} lies in no folder of a class: move it into one")
        for each in sorted(folder.iterdir()):
            if each.is_dir() and each.name not in names:
                raise ConfigurationError(f"the class {each} has no image: put some there or remove it")
        known = {name: self._index(folder / name) for name in set(names)}
        return [known[name] for name in names]

    def _index(self, folder: Path) -> int:
        if self.indices is not None:
            if folder.name not in self.indices:
                raise ConfigurationError(
                    f"{self.said} says no class for the folder {folder}: add it, or take the folder away"
                )
            return self.indices[folder.name]
        if not (folder.name.isascii() and folder.name.isdecimal()):
            raise ConfigurationError(
                f"the folder {folder} is not named by the number of a class: name it so or give a file"
            )
        return int(folder.name)


def read_classes(text: str) -> Classes:
    """Return what --labels says.

    Args:
        text: a file, or `FOLDERS`. The file is a JSON object {"cat": 281}, or one "cat 281" a line, the
            last word of it being the index.

    Raises:
        ConfigurationError: no such file, or what is wrong in it.
    """
    if text == FOLDERS:
        return Classes(None, f"--labels {FOLDERS}")
    try:
        content = Path(text).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot read the labels {text}: {(error.strerror or '').lower()}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"the labels {text} are no text: give JSON or lines of text") from None
    indices = _of_json(content, text) if content.lstrip().startswith("{") else _of_lines(content, text)
    for name, index in indices.items():
        if index < 0:
            raise ConfigurationError(f"{text} gives {name} the class {index}: classes are counted from 0")
    return Classes(indices, text)


def require_teachable(labels: Sequence[int], held_out: Sequence[int]) -> None:
    """Refuse labels, of images to learn from and of held-out ones, that nothing can be learnt from.

    Raises:
        ConfigurationError: one class only, or a class with no image to learn from.
    """
    if len({*labels, *held_out}) < 2:
        raise ConfigurationError("all images are of one class: give images of two classes or more")
    unseen = sorted({*held_out} - {*labels})
    if unseen:
        raise ConfigurationError(
            f"class {unseen[0]} has held-out images but none to learn from: give more images of it"
        )


def _of_json(content: str, said: str) -> dict[str, int]:
    try:
        return msgspec.json.decode(content, type=dict[str, int])
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"{said} is no JSON object of names and numbers: {error}") from None


def _of_lines(content: str, said: str) -> dict[str, int]:
    indices: dict[str, int] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        name, _, index = line.strip().replace("\t", " ").rpartition(" ")
        name = name.strip()
        if not name or not (index.isascii() and index.isdecimal()):
            raise ConfigurationError(f"{said}, line {number}: write the folder's name, a space, its class")
        if name in indices:
            raise ConfigurationError(f"{said}, line {number}: {name} stands there twice")
        indices[name] = int(index)
    return indices
