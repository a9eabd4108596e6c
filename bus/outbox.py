"""What a role still has to publish: a bounded queue, written by named tasks, so that a session never waits.

Overflow policy: a new item beyond the bound takes the place of the oldest QoS 0 item, or of the oldest at
all if there is none; the one that goes is counted and told so. A publish that fails is not repeated here:
whoever put it knows whether that makes sense, and is told through `ended`.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from bus.connection import Connection, Properties
from bus.errors import LinkError, LocalProtocolError
from bus.tensors import Payload


def _nothing(succeeded: bool) -> None:  # noqa: FBT001 - the callback's only argument
    """Let it be: nobody waits for the end of this publish."""
    del succeeded


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One publish.

    Attributes:
        ended: called once with whether it succeeded; False also if it was dropped.
    """

    topic: str
    payload: Payload
    qos: int = 0
    retain: bool = False
    properties: Properties | None = None
    ended: Callable[[bool], None] = _nothing


class Outbox:
    """Publishes in the order of `put`, on one connection.

    Args:
        connection: where to.
        limit: items that wait.
        writers: publishes under way at once; more than one gives up the order.

    Attributes:
        dropped: items that went because of the bound.
        failed: publishes that the link or the broker failed.
    """

    def __init__(self, connection: Connection, *, limit: int, writers: int = 1) -> None:
        self.dropped = 0
        self.failed = 0
        self._connection = connection
        self._limit = limit
        self._writers = writers
        self._items: deque[Outgoing] = deque()
        self._writing = 0
        self._more = asyncio.Semaphore(0)
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, item: Outgoing) -> None:
        """Queue one; never blocks."""
        self._idle.clear()
        if len(self._items) >= self._limit:
            victim = next((waiting for waiting in self._items if waiting.qos == 0), self._items[0])
            self._items.remove(victim)
            self.dropped += 1
            victim.ended(False)
        else:
            self._more.release()
        self._items.append(item)

    async def run(self) -> None:
        """Publish, for ever. One task of the runtime."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._writers):
                tasks.create_task(self._write(), name=f"outbox writer {number}")

    async def drained(self) -> None:
        """Return once everything put so far has ended."""
        await self._idle.wait()

    async def _write(self) -> None:
        while True:
            await self._more.acquire()
            item = self._items.popleft()
            self._writing += 1
            succeeded = False
            try:
                await self._connection.publish(
                    item.topic, item.payload, qos=item.qos, retain=item.retain, properties=item.properties
                )
                succeeded = True
            except (LinkError, LocalProtocolError):
                # LocalProtocolError: larger than this broker takes. The peer's timeout covers it.
                self.failed += 1
            finally:
                self._writing -= 1
                if not self._items and not self._writing:
                    self._idle.set()
            item.ended(succeeded)
