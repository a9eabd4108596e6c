"""Runs a role to its end: the loop, and what Ctrl-C, SIGTERM and SIGHUP do."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from lab.event_loop import new_event_loop

T = TypeVar("T")


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
    """Run to the end; returns None if SIGTERM or SIGHUP (its terminal was closed) asked it to stop before.

    All signals cancel the role's task, so that it says goodbye on the bus; a second Ctrl-C does not wait.

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

        for told in (signal.SIGTERM, signal.SIGHUP):
            # Started with nohup, it is meant to outlive its terminal.
            if signal.getsignal(told) is not signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(told, stop)
        try:
            return await main()
        except asyncio.CancelledError:
            if asked_to_stop:
                return None
            raise

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(until_told())
