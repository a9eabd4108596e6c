"""Frames that come in blocks: none before its block is opened, and never faster than so many a second."""

import threading
import time
from collections.abc import Callable

from device.frames import Frame, Size
from partition.images import MovingCrops


class GatedFrames:
    """Implements `device.frames.FrameSource`.

    Args:
        size: (height, width).
        seed: of the moving crops.
        fps: the most frames a second; 0 for as many as are asked for.
        on_wait: called, in the source's thread, whenever it waits for a block.
    """

    def __init__(
        self, size: Size, *, seed: int, fps: float, on_wait: Callable[[], None] = lambda: None
    ) -> None:
        self._film = MovingCrops(seed, size)
        self._period_s = 1.0 / fps if fps else 0.0
        self._on_wait = on_wait
        self._changed = threading.Condition()
        self._left = range(0)
        self._due = 0.0
        self._closed = False

    def open(self, first: int, frames: int) -> None:
        """Let so many frames through, from number `first` on."""
        with self._changed:
            self._left = range(first, first + frames)
            self._due = 0.0
            self._changed.notify_all()

    def next_frame(self) -> Frame | None:
        """Return the next frame of the block; waits for a block, and for the frame's time."""
        with self._changed:
            while not self._left and not self._closed:
                self._on_wait()
                self._changed.wait()
            if self._closed:
                return None
            number, self._left = self._left[0], self._left[1:]
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
