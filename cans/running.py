"""Runs a role to its end: the loop, and what Ctrl-C and SIGTERM do."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from lab.event_loop import new_event_loop

T = TypeVar("T")


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
    """Run to the end; returns None if SIGTERM asked it to stop before.

    Both signals cancel the role's task, so that it says goodbye on the bus; a second Ctrl-C does not wait.

    Raises:
        KeyboardInterrupt: after the clean stop that Ctrl-C asked for.
    """
    asked_to_stop = False

    async def until_told() -> T | None:
        task = asyncio.current_task()
        assert task is not None

        def stop() -> None:
            nonlocal asked_to_stop
            asked_to_stop = True
            task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
        try:
            return await main()
        except asyncio.CancelledError:
            if asked_to_stop:
                return None
            raise

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(until_told())
