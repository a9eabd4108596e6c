"""Frames that come in blocks: none before its block is opened, and never faster than so many a second."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from device.frames import CROPS, Frame, Size
from partition.images import MovingCrops, image_files, read_image


class Film(Protocol):
    """Frames by number, the same each time."""

    def frame(self, index: int) -> Frame:
        """Return frame `index` >= 0."""
        ...


class Pictures:
    """Implements `Film`: the images of a folder, in an order that the seed draws, again and again.

    Raises:
        ConfigurationError: no such folder, or no image in it.
    """

    def __init__(self, folder: Path, size: Size, seed: int) -> None:
        self._paths = image_files(folder)
        self._size = size
        self._order = np.random.default_rng(seed).permutation(len(self._paths))

    def frame(self, index: int) -> Frame:
        """As `Film.frame`."""
        return read_image(self._paths[self._order[index % len(self._paths)]], self._size)


def film_of(source: str, size: Size, seed: int) -> Film:
    """Return the film that `--source` names: crops, or a folder of images.

    Raises:
        ConfigurationError: it names anything else; what a camera sees cannot be shown twice.
    """
    return MovingCrops(seed, size) if source == CROPS else Pictures(Path(source), size, seed)


class GatedFrames:
    """Implements `device.frames.FrameSource` and `TellsWhen`.

    Args:
        film: what is shown.
        fps: the most frames a second; 0 for as many as are asked for.
        on_wait: called, in the source's thread, whenever it waits for a block.
    """

    def __init__(self, film: Film, *, fps: float, on_wait: Callable[[], None] = lambda: None) -> None:
        self._film = film
        self._period_s = 1.0 / fps if fps else 0.0
        self._on_wait = on_wait
        self._changed = threading.Condition()
        self._left = range(0)
        self._due = 0.0
        self._closed = False
        self._told: list[Callable[[float], None]] = []

    def tell_due(self, told: Callable[[float], None]) -> None:
        """As `TellsWhen.tell_due`."""
        self._told = [told]

    def open(self, first: int, frames: int, after_s: float = 0.0) -> None:
        """Let so many frames through, from number `first` on, the first after so many seconds."""
        with self._changed:
            self._left = range(first, first + frames)
            self._due = time.monotonic() + after_s
            self._changed.notify_all()

    def shut(self) -> int:
        """Let no more frames of the block through; return how many it had left."""
        with self._changed:
            left, self._left = len(self._left), range(0)
            return left

    def next_frame(self) -> Frame | None:
        """Return the next frame of the block; waits for a block, and for the frame's time."""
        with self._changed:
            while not self._left and not self._closed:
                self._on_wait()
                self._changed.wait()
            if self._closed:
                return None
            number, self._left = self._left[0], self._left[1:]
        for told in self._told:
            told(self._due)
        frame = self._film.frame(number)
        now = time.monotonic()
        time.sleep(max(0.0, self._due - now))
        self._due = max(self._due, now) + self._period_s
        return frame

    def close(self) -> None:
        """Let who waits go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
