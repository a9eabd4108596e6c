"""Images to learn from and images held out."""

from pathlib import Path

import pytest

from bus.errors import ConfigurationError
from partition.training.data import read_images
from tests.support.small_training import SIZE, write_images


def test_no_image_is_both_learnt_from_and_held_out(tmp_path: Path) -> None:
    write_images(tmp_path, 12)
    images = read_images(tmp_path, SIZE)
    assert (len(images.train), len(images.held_out)) == (9, 3)
    seen = {frame.tobytes() for frame in images.train}
    assert len(seen) == 9
    assert not seen & {frame.tobytes() for frame in images.held_out}


def test_the_split_follows_from_the_seed(tmp_path: Path) -> None:
    write_images(tmp_path, 12)
    first, again, other = (read_images(tmp_path, SIZE, seed=seed) for seed in (1, 1, 2))
    assert [f.tobytes() for f in first.train] == [f.tobytes() for f in again.train]
    assert [f.tobytes() for f in first.train] != [f.tobytes() for f in other.train]


def test_a_folder_of_its_own_is_held_out_whole_and_a_limit_holds_for_each(tmp_path: Path) -> None:
    write_images(tmp_path / "a" / "class", 12)
    write_images(tmp_path / "b", 9, seed=1)
    images = read_images(tmp_path / "a", SIZE, held_out=tmp_path / "b")
    assert (len(images.train), len(images.held_out)) == (12, 9)
    images = read_images(tmp_path / "a", SIZE, held_out=tmp_path / "b", limit=5)
    assert (len(images.train), len(images.held_out)) == (5, 5)


def test_a_sentence_for_each_folder_that_cannot_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read the folder"):
        read_images(tmp_path / "none", SIZE)
    with pytest.raises(ConfigurationError, match="holds no image"):
        read_images(tmp_path, SIZE)
    write_images(tmp_path, 7)
    with pytest.raises(ConfigurationError, match="7 images are too few: give at least 8"):
        read_images(tmp_path, SIZE)
    write_images(tmp_path, 9)
    with pytest.raises(ConfigurationError, match="held-out ones must be others"):
        read_images(tmp_path, SIZE, held_out=tmp_path)
    (tmp_path / "z.png").write_bytes(b"no image")
    with pytest.raises(ConfigurationError, match=r"z\.png is not an image"):
        read_images(tmp_path, SIZE)
