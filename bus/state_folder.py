"""A role's folder: its own, for it alone, with a count of its starts.

Two processes on one folder would overwrite each other's snapshots, so the folder is locked as long as the
process lives; the lock goes with the process, however it ends.
"""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bus.errors import ConfigurationError
from bus.snapshot import read_snapshot, write_snapshot


@dataclass(frozen=True, slots=True)
class StateFolder:
    """An open folder.

    Attributes:
        path: where, or None if the role keeps nothing.
        boot: starts so far, this one included; grows with every start.
    """

    path: Path | None
    boot: int


@contextlib.asynccontextmanager
async def open_state_folder(path: Path | None) -> AsyncIterator[StateFolder]:
    """Lock a folder and count this start, durably.

    Args:
        path: made if it is not there. None for a role that keeps nothing: then boot is the second of the
            start since 1970, which grows from start to start as well.

    Raises:
        ConfigurationError: it cannot be written, it is damaged, or another process has it.
    """
    if path is None:
        yield StateFolder(None, int(datetime.now(UTC).timestamp()))
        return
    try:
        descriptor = await asyncio.to_thread(_open_lock, path)
    except OSError as error:
        raise _unusable(path, error) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"another process uses the state folder {path}: stop it, or give this one its own"
            ) from None
        try:
            boot = _count(path / "boot") + 1
            await write_snapshot(path / "boot", str(boot).encode())
        except OSError as error:
            raise _unusable(path, error) from None
        yield StateFolder(path, boot)
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    """Make the folder if need be; return the descriptor of its lock file."""
    path.mkdir(parents=True, exist_ok=True)
    return os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)


def _unusable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"cannot use the state folder {path} ({error.strerror}): give a folder that can be written"
    )


def _count(file: Path) -> int:
    """Read the count of starts, 0 before the first."""
    text = read_snapshot(file)
    if text is None:
        return 0
    if not text.isdigit():
        raise ConfigurationError(f"{file} holds no count of starts: move it away to start afresh")
    return int(text)
