"""Runs a role to its end: the loop, its numerical threads, and what Ctrl-C, SIGTERM and SIGHUP do."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

from cans.watchdog import keep_telling
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
        alive = asyncio.create_task(keep_telling(), name="watchdog")
        try:
            return await main()
        except asyncio.CancelledError:
            if asked_to_stop:
                return None
            raise
        finally:
            alive.cancel()

    with _one_blas_thread(), asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(until_told())


def _one_blas_thread() -> AbstractContextManager[object]:
    """Keep numpy's and scipy's OpenBLAS to the calling thread; torch's own threads stay as they are.

    A learner's matrices are 15 x 15. OpenBLAS's other threads can win nothing there, but once awake they
    spin for 40 ms, on the very cores that the head of the frame needs next.
    """
    # Of OpenBLAS's two kinds, the one with threads of its own; torch brings the OpenMP kind on some machines.
    limit: AbstractContextManager[object]
    limit = ThreadpoolController().select(threading_layer="pthreads").limit(limits=1)
    return limit
