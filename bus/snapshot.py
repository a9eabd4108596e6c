"""State files that survive a crash: the old one or the new one, never half of either.

Written to a temporary file in the same folder, synced, renamed over the old one, folder synced. The
first line names format and checksum, so a damaged file is told from a foreign one.
This file must never decide what is worth keeping; the sessions do.
"""

import asyncio
import os
import zlib
from pathlib import Path

import aiofiles
import aiofiles.os

from bus.errors import ConfigurationError

_MAGIC = b"cans-snapshot 1 "
LIMIT_BYTES = 64 * 1024 * 1024


async def write_snapshot(path: Path, payload: bytes) -> None:
    """Replace the file atomically and durably.

    Raises:
        OSError: disk full, read-only, and so on; the old file is untouched.
    """
    temporary = path.with_name(path.name + ".new")
    try:
        async with aiofiles.open(temporary, "wb") as file:
            await file.write(_MAGIC + f"{zlib.crc32(payload):08x}\n".encode())
            await file.write(payload)
            await file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
        await aiofiles.os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    await asyncio.to_thread(_sync_folder, path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_snapshot(path: Path) -> bytes | None:
    """Return what was last written, or None if there is no file.

    Raises:
        ConfigurationError: if the file is damaged or foreign; it is left as it is.
    """
    try:
        if path.stat().st_size > LIMIT_BYTES:
            raise ConfigurationError(f"{path} is larger than any snapshot: move it away to start afresh")
        head, _, payload = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}; mend its permissions") from None
    if head != _MAGIC + f"{zlib.crc32(payload):08x}".encode():
        raise ConfigurationError(f"{path} is damaged or not ours: move it away to start afresh")
    return payload
