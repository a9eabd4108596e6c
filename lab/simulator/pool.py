"""Jobs over the processes of this machine."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait

import msgspec
from threadpoolctl import threadpool_limits

from lab.simulator.jobs import Job
from lab.simulator.units import Unit, do_unit


def do_all(units: Sequence[Unit], processes: int, ended: Callable[[Job], None]) -> None:
    """Do all units; `ended` is called here after each, with every job of it.

    On Ctrl-C, and when one fails, no other is begun, and what runs is ended; so it is when this process is
    killed. Files that are there stay.

    Raises:
        Exception: what the first one that failed has raised.
    """
    if processes == 1:
        with threadpool_limits(limits=1):
            for unit in units:
                do_unit(msgspec.json.encode(unit))
                for job in unit.jobs:
                    ended(job)
        return
    # spawn: a forked child would inherit locks of threads that it does not have.
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin)
    through = False
    try:
        waiting = {executor.submit(do_unit, msgspec.json.encode(unit)): unit for unit in units}
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
                for job in waiting.pop(future).jobs:
                    ended(job)
        through = True
    finally:
        # Also where it ends before all are submitted.
        if not through:
            for process in multiprocessing.active_children():
                process.terminate()
        executor.shutdown(cancel_futures=True)


def _begin() -> None:
    """Ctrl-C is the parent's to answer, and a learner's matrices are too small for threads."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(limits=1)
    threading.Thread(target=_end_with_parent, name="end with the parent", daemon=True).start()


def _end_with_parent() -> None:
    """End when the parent has: killed, it tells nobody, and its workers would finish the queue and stay."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
