"""How a role ends: cancelling its task asks it to finish what it has begun, cancelling again does not wait.

SIGTERM and Ctrl-C both arrive as a cancellation (the composition root sees to that), so there is one way
to stop a role, in a process and in a test alike.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def run_until_drained(name: str, serve: Coroutine[Any, Any, T], stop: Callable[[], None]) -> T:
    """Run a role to its end.

    Args:
        name: of its task.
        serve: the role; must end by itself, within a bounded time, after `stop`.
        stop: asks it to.

    Raises:
        CancelledError: this task was cancelled; raised once `serve` has ended.
    """
    task = asyncio.create_task(serve, name=name)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            stop()
            await task
        raise
