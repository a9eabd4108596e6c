import asyncio
import os
from pathlib import Path

import pytest

from bus import snapshot
from bus.errors import ConfigurationError
from bus.snapshot import read_snapshot, write_snapshot


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "learnt"
    assert read_snapshot(path) is None
    for payload in (b"first", b"", b"line\nline"):
        asyncio.run(write_snapshot(path, payload))
        assert read_snapshot(path) == payload
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b"x" + b, lambda b: b[:-1] + b"X", lambda _: b""]
)
def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "learnt"
    asyncio.run(write_snapshot(path, b"payload"))
    broken = damage(path.read_bytes())  # type: ignore[operator] # a lambda of the table
    path.write_bytes(broken)
    with pytest.raises(ConfigurationError, match=r"learnt is damaged or not ours: move it away"):
        read_snapshot(path)
    assert path.read_bytes() == broken


def test_a_full_disk_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "learnt"
    asyncio.run(write_snapshot(path, b"old"))

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        asyncio.run(write_snapshot(path, b"new"))
    assert read_snapshot(path) == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_too_large_or_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "learnt"
    path.write_bytes(b"0123456789")
    monkeypatch.setattr(snapshot, "LIMIT_BYTES", 9)
    with pytest.raises(ConfigurationError, match="larger than any snapshot"):
        read_snapshot(path)
    with pytest.raises(ConfigurationError, match="cannot read"):
        read_snapshot(path / "below-a-file")
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(snapshot, "LIMIT_BYTES", 1 << 20)
    with pytest.raises(ConfigurationError, match="cannot read"):
        read_snapshot(tmp_path / "folder")
