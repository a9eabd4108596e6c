"""What was trained, as a file: what comes back, and what is refused before it is read."""

from pathlib import Path

import msgspec
import pytest
import torch

from bus.errors import ConfigurationError
from partition.trained_file import MAX_BYTES, Kind

KIND = Kind("cans-spoon 1", "a spoon", "cans train spoon")


class Info(msgspec.Struct):
    name: str


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    state = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.ones(())}
    (tmp_path / "f").write_bytes(KIND.dump(Info("tea"), state))
    said, found = KIND.read(tmp_path / "f")
    assert msgspec.json.decode(said, type=Info) == Info("tea")
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    assert found.keys() == state.keys()


def test_a_file_larger_than_any_is_refused_by_its_size_alone(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ConfigurationError, match="more than any file with a spoon"):
        KIND.read(tmp_path / "large")


def test_another_kind_is_told_how_to_make_this_one(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(Kind("cans-fork 1", "a fork", "").dump(Info("x"), {"a": torch.ones(1)}))
    with pytest.raises(ConfigurationError, match=r"not hold a spoon .* make it with `cans train spoon`"):
        KIND.read(tmp_path / "f")
