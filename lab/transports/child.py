"""A process of its own that opens ports, says which, and ends when nobody listens to it any more."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bus.errors import ConfigurationError


@asynccontextmanager
async def answering(module: str, *arguments: str) -> AsyncIterator[dict[str, int]]:
    """Run `python -m MODULE ARGUMENTS` while the block lasts; it ends when its standard input is closed.

    Yields:
        The ports that it has printed, as one JSON line.

    Raises:
        ConfigurationError: it ended before that; on standard error it has said why.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = await process.stdout.readline()
        if not line:
            raise ConfigurationError(f"python -m {module} ended before it was ready: see what it says above")
        yield json.loads(line)
    finally:
        process.stdin.close()
        await process.wait()


async def until_unheard() -> None:
    """Wait, in such a process, until its standard input is closed."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    await reader.read()
