"""Frames come in blocks, and not faster than they may."""

import threading
import time

import numpy as np

from lab.testbed.gate import GatedFrames
from partition.images import MovingCrops


def test_frames_are_those_of_the_film_and_wait_for_their_block() -> None:
    waiting = threading.Event()
    frames = GatedFrames((32, 32), seed=7, fps=0.0, on_wait=waiting.set)
    taken: list[object] = []
    reader = threading.Thread(target=lambda: taken.extend(frames.next_frame() for _ in range(3)))
    reader.start()
    assert waiting.wait(10)
    assert taken == []
    frames.open(4, 2)
    frames_of_block = MovingCrops(7, (32, 32))
    waiting.clear()
    assert waiting.wait(10)  # the third waits again
    frames.open(20, 1)
    reader.join(10)
    assert not reader.is_alive()
    for frame, number in zip(taken, (4, 5, 20), strict=True):
        assert isinstance(frame, np.ndarray)
        assert np.array_equal(frame, frames_of_block.frame(number))


def test_a_block_is_not_faster_than_its_rate() -> None:
    frames = GatedFrames((8, 8), seed=0, fps=50.0)
    frames.open(0, 4)
    began = time.monotonic()
    for _ in range(4):
        assert frames.next_frame() is not None
    assert time.monotonic() - began >= 3 * 0.02  # the first comes at once


def test_closing_lets_who_waits_go() -> None:
    frames = GatedFrames((8, 8), seed=0, fps=0.0)
    ended: list[object] = []
    reader = threading.Thread(target=lambda: ended.append(frames.next_frame()))
    reader.start()
    frames.close()
    reader.join(10)
    assert ended == [None]
    frames.open(0, 3)
    assert frames.next_frame() is None
