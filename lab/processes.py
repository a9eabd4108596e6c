"""Processes of a script on this machine: each `python -m ARGUMENTS`, ended with the block that it runs in.

A site that people start has `cans/site_processes.py`, which watches its processes and survives a kill -9.
"""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator

from bus.errors import ConfigurationError

_END_S = 10.0
_ROLES = ("device", "edge", "aggregator")


async def to_the_end(*arguments: str) -> None:
    """Run one to its end.

    Raises:
        ConfigurationError: it failed.
    """
    async with running(*arguments, said=None) as process:
        if await process.wait() != 0:
            raise ConfigurationError(f"python -m {' '.join(arguments[:3])} failed: its last lines are above")


@contextlib.asynccontextmanager
async def running(
    *arguments: str, said: int | None = asyncio.subprocess.PIPE
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `python -m ARGUMENTS` for as long as the block; its warnings go where this process's do."""
    quiet = ("--log-level", "warning") if arguments[0] == "cans" and arguments[1] in _ROLES else ()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *arguments, *quiet),
        stdin=asyncio.subprocess.PIPE,
        stdout=said,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_END_S):
                await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()


async def line_of(process: asyncio.subprocess.Process) -> str:
    """Return the next line that it prints; raises TimeoutError where none comes."""
    assert process.stdout is not None
    async with asyncio.timeout(_END_S):
        return (await process.stdout.readline()).decode()


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
