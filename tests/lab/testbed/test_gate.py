"""Frames come in blocks, and not faster than they may."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bus.errors import ConfigurationError
from lab.testbed.gate import GatedFrames, film_of
from partition.images import MovingCrops


def test_frames_are_those_of_the_film_and_wait_for_their_block() -> None:
    waiting = threading.Event()
    frames = GatedFrames(MovingCrops(7, (32, 32)), fps=0.0, on_wait=waiting.set)
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
    frames = GatedFrames(MovingCrops(0, (8, 8)), fps=50.0)
    frames.open(0, 4)
    began = time.monotonic()
    for _ in range(4):
        assert frames.next_frame() is not None
    assert time.monotonic() - began >= 3 * 0.02  # the first comes at once


def test_the_first_frame_of_a_block_comes_when_it_is_the_devices_turn() -> None:
    frames = GatedFrames(MovingCrops(0, (8, 8)), fps=50.0)
    frames.open(0, 2, after_s=0.1)
    began = time.monotonic()
    assert frames.next_frame() is not None
    assert time.monotonic() - began >= 0.1
    assert frames.next_frame() is not None
    assert time.monotonic() - began >= 0.1 + 0.02


def test_a_block_may_be_ended_before_its_end() -> None:
    frames = GatedFrames(MovingCrops(0, (8, 8)), fps=0.0)
    frames.open(0, 5)
    assert frames.next_frame() is not None
    assert frames.shut() == 4
    frames.open(7, 1)
    assert frames.next_frame() is not None
    assert frames.shut() == 0


def test_closing_lets_who_waits_go() -> None:
    frames = GatedFrames(MovingCrops(0, (8, 8)), fps=0.0)
    ended: list[object] = []
    reader = threading.Thread(target=lambda: ended.append(frames.next_frame()))
    reader.start()
    frames.close()
    reader.join(10)
    assert ended == [None]
    frames.open(0, 3)
    assert frames.next_frame() is None


def test_pictures_come_in_an_order_of_their_own_again_and_again(tmp_path: Path) -> None:
    for shade in range(5):
        Image.new("RGB", (9, 9), (shade, 0, 0)).save(tmp_path / f"{shade}.png")
    film = film_of(str(tmp_path), (9, 9), 3)
    shades = [int(film.frame(number)[0, 0, 0]) for number in range(10)]
    assert sorted(shades[:5]) == list(range(5))
    assert shades[5:] == shades[:5]
    orders = {
        tuple(int(film_of(str(tmp_path), (9, 9), s).frame(n)[0, 0, 0]) for n in range(5)) for s in range(9)
    }
    assert len(orders) > 1
    assert isinstance(film_of("crops", (9, 9), 3), MovingCrops)
    with pytest.raises(ConfigurationError, match="cannot read the folder camera"):
        film_of("camera", (9, 9), 3)


def test_who_asks_is_told_when_a_frame_comes() -> None:
    frames = GatedFrames(MovingCrops(0, (8, 8)), fps=20.0)
    told: list[float] = []
    frames.tell_due(told.append)
    began = time.monotonic()
    frames.open(0, 2, after_s=0.02)
    for _ in range(2):
        assert frames.next_frame() is not None
    assert told == pytest.approx([began + 0.02, began + 0.07], abs=0.04)
