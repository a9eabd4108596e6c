"""The shell around a pure session: events in, commands out, one timer. The same for every role.

It does for you: hand events to the session one at a time, in the order they were posted, also when a
command's execution posts another; wake the session at its deadline.
It does not: execute commands (the role's runtime does), create threads, or drop events.
You must: keep `execute` from blocking (start a named task, or write to a bounded queue), and post the
completion or failure of every command back as an event.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

E_contra = TypeVar("E_contra", contravariant=True)
E = TypeVar("E")
C = TypeVar("C")


class Session(Protocol[E_contra, C]):
    """A state machine without I/O, clock or randomness of its own."""

    def handle(self, event: E_contra, now: float) -> list[C]:
        """Change state by one event at `now` (seconds, monotonic) and return what is to be done."""
        ...

    def next_deadline(self) -> float | None:
        """When to be woken if nothing happens before, on the clock of `now`; None for never."""
        ...


class Shell(Generic[E, C]):
    """Runs one session.

    The queue between `post` and the session holds only events posted while another is handled, so it is
    bounded by the number of commands that one event can cause.

    Args:
        session: the state machine.
        execute: carries out one command without blocking.
        woken: the event that tells the session its deadline has passed.
    """

    def __init__(self, session: Session[E, C], execute: Callable[[C], None], woken: E) -> None:
        self._session = session
        self._execute = execute
        self._woken = woken
        self._backlog: deque[E] = deque()
        self._draining = False
        self._rearm = asyncio.Event()

    def post(self, event: E) -> None:
        """Handle an event now, or right after the one being handled."""
        self._backlog.append(event)
        if self._draining:
            return
        self._draining = True
        before = self._session.next_deadline()
        try:
            while self._backlog:
                for command in self._session.handle(self._backlog.popleft(), time.monotonic()):
                    self._execute(command)
        finally:
            self._draining = False
        if self._session.next_deadline() != before:
            self._rearm.set()

    async def run_timer(self) -> None:
        """Wake the session at its deadlines, for ever. One task of the runtime."""
        while True:
            self._rearm.clear()
            deadline = self._session.next_deadline()
            # Not the loop's clock: uvloop's counts whole milliseconds, and stage times come from here.
            delay_s = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                async with asyncio.timeout(delay_s):
                    await self._rearm.wait()
            except TimeoutError:
                self.post(self._woken)
