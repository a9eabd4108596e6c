"""Labels from folders, and exits that learn them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bus.errors import ConfigurationError
from partition.networks.exit_heads import read
from partition.training.checkpoint import Progress, run
from partition.training.data import Images, Labels, read_images
from partition.training.exits import ExitsTraining, Recipe
from partition.training.labels import Classes, read_classes
from tests.support.small_training import SIZE, small_images, small_model, write_classes, write_images

NUMBERS = read_classes("folders")
RECIPE = Recipe(after=("1",), agreement=0.75, steps=40, batch=8, rate=1e-2)


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coloured")
    write_classes(folder, ("3", "7"), 16)
    return folder


def test_an_image_has_the_class_of_its_folder_whichever_side_it_falls_on(tmp_path: Path) -> None:
    write_classes(tmp_path, ("red", "green"), 8)
    images = read_images(tmp_path, SIZE, classes=Classes({"red": 4, "green": 0}, "f"))
    assert images.labels is not None
    for frames, labels in (
        (images.train, images.labels.train),
        (images.held_out, images.labels.held_out),
    ):
        strongest = [int(frame.mean((0, 1)).argmax()) for frame in frames]
        assert labels.tolist() == [{0: 4, 1: 0}[channel] for channel in strongest]


def test_held_out_folders_are_labelled_by_the_same_names(tmp_path: Path) -> None:
    write_classes(tmp_path / "a", ("1", "2"), 5)
    write_classes(tmp_path / "b", ("1", "2"), 3)
    images = read_images(tmp_path / "a", SIZE, held_out=tmp_path / "b", classes=NUMBERS)
    assert images.labels is not None
    assert sorted(images.labels.train) == [1] * 5 + [2] * 5
    assert sorted(images.labels.held_out) == [1] * 3 + [2] * 3


@pytest.mark.parametrize(
    "content",
    ['{"tabby cat": 281, "dog": 207}', "tabby cat 281\n\n  dog\t207\n"],
)
def test_a_file_says_the_classes_as_json_or_as_lines(content: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text(content)
    assert read_classes(str(tmp_path / "f")).indices == {"tabby cat": 281, "dog": 207}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"cat": "x"}', "is no JSON object of names and numbers"),
        (b'{"cat": true}', "is no JSON object of names and numbers"),
        (b'{"cat": -1}', "classes are counted from 0"),
        (b"cat", "line 1: write the folder's name, a space, its class"),
        (b"cat 1\ndog -1", "line 2: write the folder's name"),
        (b"cat 1\ncat 2", "line 2: cat stands there twice"),
        (b"\xff\xfe", "are no text"),
        (None, "cannot read the labels"),
    ],
)
def test_a_sentence_for_a_file_that_says_no_classes(
    content: bytes | None, sentence: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "f").write_bytes(content)
    with pytest.raises(ConfigurationError, match=sentence):
        read_classes(str(tmp_path / "f"))


def test_a_sentence_for_folders_that_do_not_suit(tmp_path: Path) -> None:
    write_classes(tmp_path, ("0", "1"), 8)
    only = Classes({"0": 0}, "labels.json")
    with pytest.raises(ConfigurationError, match=r"labels\.json says no class for the folder .*1: add it"):
        read_images(tmp_path, SIZE, classes=only)
    with pytest.raises(ConfigurationError, match="all images are of one class"):
        read_images(tmp_path, SIZE, classes=Classes({"0": 5, "1": 5}, "labels.json"))
    (tmp_path / "2").mkdir()
    with pytest.raises(ConfigurationError, match=r"the class .*2 has no image"):
        read_images(tmp_path, SIZE, classes=NUMBERS)
    (tmp_path / "2").rmdir()
    write_classes(tmp_path, ("blue",), 1)
    with pytest.raises(ConfigurationError, match="blue is not named by the number of a class"):
        read_images(tmp_path, SIZE, classes=NUMBERS)
    (tmp_path / "blue" / "0.png").rename(tmp_path / "0.png")
    (tmp_path / "blue").rmdir()
    with pytest.raises(ConfigurationError, match="lies in no folder of a class"):
        read_images(tmp_path, SIZE, classes=NUMBERS)


def test_a_class_that_is_only_held_out_cannot_be_learnt(tmp_path: Path) -> None:
    write_classes(tmp_path / "a", ("1", "2"), 5)
    write_images(tmp_path / "b" / "3", 4)
    with pytest.raises(ConfigurationError, match="class 3 has held-out images but none to learn from"):
        read_images(tmp_path / "a", SIZE, held_out=tmp_path / "b", classes=NUMBERS)


def test_exits_learn_labels_that_the_network_does_not_know(coloured: Path, tmp_path: Path) -> None:
    images = read_images(coloured, SIZE, classes=NUMBERS)
    training = ExitsTraining(small_model(), images, RECIPE)
    assert run(training, tmp_path / "checkpoint", every=40)
    info = training.save(tmp_path / "e")
    assert read(tmp_path / "e").info == info
    (rule,) = info.rules
    # Seeded weights know no colours; two of them are learnt by anything that learns.
    assert info.whole_accuracy is not None
    assert info.whole_accuracy < 0.5
    assert rule.accuracy == 1.0
    # What the threshold keeps is still the network's answers.
    assert rule.accuracy_together is not None
    assert rule.accuracy_together <= info.whole_accuracy + rule.answered
    assert rule.agreement < 0.5 or rule.answered == 0.0


def test_accuracy_is_that_of_the_exit_on_images_that_chose_nothing(coloured: Path) -> None:
    images = read_images(coloured, SIZE, classes=NUMBERS)
    training = ExitsTraining(small_model(), images, replace(RECIPE, steps=4))
    for number in range(4):
        training.step(number)
    found = training.calibrate()
    assert images.labels is not None
    model, border = small_model(), (len(images.held_out) + 1) // 2
    exits, whole = [], []
    for frame in images.held_out[border:]:
        kept = model.run_head(frame, model.arm("1/float32")).kept
        assert kept is not None
        with torch.no_grad():
            exits.append(int(found.heads[0](kept.crossing[0].clone()).argmax()))  # type: ignore[union-attr]
        whole.append(model.finish(kept).top1)
    labels = images.labels.held_out[border:]
    assert found.info.rules[0].accuracy == np.mean(np.array(exits) == labels)
    assert found.info.whole_accuracy == np.mean(np.array(whole) == labels)


def test_without_labels_a_file_says_nothing_of_them() -> None:
    found = ExitsTraining(small_model(), small_images(24, 16), RECIPE).calibrate().info
    assert found.whole_accuracy is None
    assert found.rules[0].accuracy is None


def test_a_class_beyond_the_networks_is_said_before_anything_is_trained() -> None:
    images = small_images(24, 16)
    labels = Labels(np.arange(24) % 11, np.arange(16) % 10)
    with pytest.raises(ConfigurationError, match="there is a label 10, and small has the classes 0 to 9"):
        ExitsTraining(small_model(), replace(images, labels=labels), RECIPE)


def labelled(shift: int = 0) -> Images:
    return replace(
        small_images(24, 16), labels=Labels((np.arange(24) + shift) % 10, (np.arange(16) + shift) % 10)
    )


def test_killed_and_resumed_it_ends_alike_and_other_labels_are_another_training(tmp_path: Path) -> None:
    recipe = replace(RECIPE, steps=6)
    whole, killed, resumed = (ExitsTraining(small_model(), labelled(), recipe) for _ in range(3))
    assert run(whole, tmp_path / "whole", every=2)

    def die(progress: Progress) -> None:
        if progress.step == 5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run(killed, tmp_path / "killed", every=2, report=die)
    for other in (labelled(1), small_images(24, 16)):
        with pytest.raises(ConfigurationError, match="is of another training"):
            run(ExitsTraining(small_model(), other, recipe), tmp_path / "killed", resume=True)
    assert run(resumed, tmp_path / "killed", every=2, resume=True)
    for one, two in zip(whole.heads.parameters(), resumed.heads.parameters(), strict=True):
        assert torch.equal(one, two)
