"""Crops of photographs to train on, and others that are held out."""

from pathlib import Path

import torch

from partition.training.photographs import SUBJECTS, read_crops, write_crops


def test_each_photograph_is_a_class_and_a_seed_gives_the_same_crops(tmp_path: Path) -> None:
    for name, held_out in (("a", False), ("again", False), ("b", True)):
        write_crops(tmp_path / name, 1, 3, held_out=held_out)
    x, labels = read_crops(tmp_path / "a")
    again, _ = read_crops(tmp_path / "again")
    other, other_labels = read_crops(tmp_path / "b")
    assert x.shape == (len(SUBJECTS), 3, 224, 224)
    assert sorted(labels.tolist()) == list(range(len(SUBJECTS)))
    assert torch.equal(x, again)
    assert torch.equal(labels, other_labels)
    assert not any(torch.equal(one, another) for one, another in zip(x, other, strict=True))
