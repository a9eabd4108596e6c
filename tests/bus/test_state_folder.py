"""One process a folder, and a count of starts that survives them."""

import asyncio
from pathlib import Path

import pytest

from bus.errors import ConfigurationError
from bus.snapshot import write_snapshot
from bus.state_folder import open_state_folder


async def boot_of(path: Path | None) -> int:
    async with open_state_folder(path) as folder:
        assert folder.path == path
        return folder.boot


def test_each_start_counts_and_without_a_folder_the_clock_does(tmp_path: Path) -> None:
    async def main() -> None:
        assert [await boot_of(tmp_path / "a" / "b") for _ in range(3)] == [1, 2, 3]
        assert await boot_of(None) > 1_700_000_000

    asyncio.run(main())


def test_a_folder_in_use_damaged_or_not_writable_is_one_sentence(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_state_folder(tmp_path):
            with pytest.raises(ConfigurationError, match="another process"):
                await boot_of(tmp_path)
        await write_snapshot(tmp_path / "boot", b"many")
        with pytest.raises(ConfigurationError, match="no count"):
            await boot_of(tmp_path)
        (tmp_path / "file").touch()
        with pytest.raises(ConfigurationError, match="cannot use"):
            await boot_of(tmp_path / "file")
        (tmp_path / "c" / "boot.new").mkdir(parents=True)
        with pytest.raises(ConfigurationError, match="cannot use"):
            await boot_of(tmp_path / "c")

    asyncio.run(main())
