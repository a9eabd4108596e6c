"""What every transport is made of: somebody asks with bytes, somebody answers with bytes."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from bus.tensors import Payload

Ask = Callable[[bytes], Awaitable[Payload]]
Answer = Callable[[Payload], Awaitable[bytes]]
MAX_MESSAGE_BYTES = 16 * 1024 * 1024

_numbers = itertools.count()


@asynccontextmanager
async def background(work: Awaitable[None]) -> AsyncIterator[None]:
    """Run beside the body, ended with it."""

    async def run() -> None:
        await work

    task = asyncio.get_running_loop().create_task(run(), name=f"answering-{next(_numbers)}")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
