"""Frames: the same in every run, moving smoothly; files that are no images say so."""

import io
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bus.errors import ConfigurationError
from partition import images
from partition.images import (
    FRAMES_PER_PHOTOGRAPH,
    PHOTOGRAPHS,
    MovingCrops,
    fit_array,
    image_files,
    photograph,
    read_image,
)


def test_frames_are_the_same_for_the_same_seed_and_index() -> None:
    one, same, other = MovingCrops(1), MovingCrops(1), MovingCrops(2)
    for index in (0, 31, 32, 300):
        assert np.array_equal(one.frame(index), same.frame(index))
        assert not np.array_equal(one.frame(index), other.frame(index))
    assert [f.shape for f in islice(MovingCrops(1, (96, 128)), 2)] == [(96, 128, 3)] * 2


def test_neighbours_are_closer_than_strangers_and_all_photographs_come() -> None:
    film = MovingCrops(0, (112, 112))
    frames = [film.frame(i).astype(float) for i in range(FRAMES_PER_PHOTOGRAPH)]
    steps = [np.abs(a - b).mean() for a, b in pairwise(frames)]
    assert 0.0 < max(steps) < 0.8 * np.abs(frames[0] - frames[-1]).mean() + 5.0
    cuts = [film.frame(i * FRAMES_PER_PHOTOGRAPH).mean() for i in range(len(PHOTOGRAPHS))]
    assert len({round(mean, 6) for mean in cuts}) == len(PHOTOGRAPHS)


def test_a_photograph_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(ConfigurationError, match="not in scikit-image"):
        photograph("unicorn.png")


def test_images_are_read_upright_and_cropped_at_the_centre(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    picture = Image.new("RGB", (400, 100), "red")
    picture.paste("blue", (150, 0, 250, 100))
    picture.save(path)
    frame = read_image(path, (50, 50))
    assert frame.shape == (50, 50, 3)
    # The filter looks a pixel beyond the crop.
    assert (frame[:, 2:-2] == [0, 0, 255]).all()
    assert fit_array(frame, (50, 50)) is frame
    assert fit_array(frame, (20, 30)).shape == (20, 30, 3)


def test_what_is_no_image_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "PNG")
    for name, content, sentence in (
        ("text", b"hello", "is not an image"),
        ("broken", file.getvalue()[:60], "cannot read the image|is not an image"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigurationError, match=sentence):
            read_image(tmp_path / name)
    with pytest.raises(ConfigurationError, match="cannot read the image"):
        read_image(tmp_path / "none")
    monkeypatch.setattr(images, "MAX_FILE_PIXELS", 4095)
    (tmp_path / "large").write_bytes(file.getvalue())
    with pytest.raises(ConfigurationError, match="64 x 64 pixels"):
        read_image(tmp_path / "large")


def test_images_of_folders_below_count_and_a_few_are_spread_over_all(tmp_path: Path) -> None:
    for scene in range(4):
        (tmp_path / f"scene-{scene}").mkdir()
        for number in range(3):
            (tmp_path / f"scene-{scene}" / f"{number}.png").touch()
    (tmp_path / "notes.txt").touch()
    assert len(image_files(tmp_path)) == 12
    assert [path.parent.name for path in image_files(tmp_path, 4)] == [f"scene-{each}" for each in range(4)]
    assert image_files(tmp_path, 100) == image_files(tmp_path)
