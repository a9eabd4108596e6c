"""Agreement is measured at the first start and read at the next."""

from pathlib import Path

import pytest
from PIL import Image

from bus.errors import ConfigurationError
from device.agreements import BUILT_IN_FRAMES, MOST_IMAGES, agreements
from partition.agreement import built_in_frames, measure
from partition.images import MovingCrops
from partition.networks.zoo import load_model
from partition.partitioned import PartitionedModel, build

TINY = "tests.support.tiny_network:make"
HARSH = "topk1-float16"


@pytest.fixture(scope="module")
def model() -> PartitionedModel:
    return build(load_model(TINY, seed=0), codecs=("float32", "jpeg", HARSH))


def kept(folder: Path) -> Path:
    (path,) = folder.glob("agreement-*.json")
    return path


def test_lossy_arms_are_measured_and_the_others_are_taken_at_their_word(model: PartitionedModel) -> None:
    found = dict(zip(model.arms, agreements(model, None, None), strict=True))
    rows = {row.arm: row for row in measure(model, built_in_frames(BUILT_IN_FRAMES, model.input_size))}
    assert {arm: row.top1 for arm, row in rows.items()} == {arm: found[arm] for arm in rows}
    assert found[model.device_only] == found[model.arm("0/float32")] == 1.0
    assert found[model.arm(f"1/{HARSH}")] < 1.0


def test_a_second_start_reads_what_the_first_has_found(model: PartitionedModel, tmp_path: Path) -> None:
    first = agreements(model, None, tmp_path / "state")
    path = kept(tmp_path / "state")
    told = path.read_text(encoding="utf-8")
    path.write_text(told.replace('"0/jpeg":1.0', '"0/jpeg":0.25'), encoding="utf-8")
    second = dict(zip(model.arms, agreements(model, None, tmp_path / "state"), strict=True))
    assert second.pop(model.arm("0/jpeg")) == 0.25
    assert second.items() <= dict(zip(model.arms, first, strict=True)).items()


@pytest.mark.parametrize("damage", ["{", '{"0/jpeg": "much"}', '{"0/jpeg": 0.5}'])
def test_a_file_that_is_damaged_or_of_other_arms_is_measured_again(
    model: PartitionedModel, tmp_path: Path, damage: str
) -> None:
    first = agreements(model, None, tmp_path)
    told = kept(tmp_path).read_bytes()
    kept(tmp_path).write_text(damage, encoding="utf-8")
    assert agreements(model, None, tmp_path) == first
    assert kept(tmp_path).read_bytes() == told


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(
    model: PartitionedModel, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    assert agreements(model, None, tmp_path / "file") == agreements(model, None, None)


def test_other_weights_other_arms_and_other_images_are_measured_for_themselves(
    model: PartitionedModel, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        Image.fromarray(MovingCrops(number, (40, 60)).frame(0)).save(images / f"{number}.png")
    (images / "damaged.png").write_bytes(b"no image")
    state = tmp_path / "state"
    agreements(model, None, state)
    shares = agreements(model, images, state)
    assert all(round(share * 3, 9).is_integer() for share in shares)
    agreements(build(load_model(TINY, seed=1), codecs=("float32", "jpeg", HARSH)), None, state)
    agreements(build(load_model(TINY, seed=0), codecs=("float32", "jpeg")), None, state)
    assert len(list(state.glob("agreement-*.json"))) == 4


def test_of_a_large_folder_some_images_are_taken_from_all_of_it(
    model: PartitionedModel, tmp_path: Path
) -> None:
    """Every other file is an image, and those are the ones that are taken."""
    picture = Image.fromarray(MovingCrops(0, (8, 8)).frame(0))
    for number in range(2 * MOST_IMAGES):
        picture.save(tmp_path / f"{number:03d}.png") if number % 2 == 0 else (
            tmp_path / f"{number:03d}.png"
        ).write_bytes(b"no image")
    assert agreements(model, tmp_path, None)[0] == 1.0


def test_a_folder_without_an_image_is_one_sentence(model: PartitionedModel, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no image"):
        agreements(model, tmp_path, None)
