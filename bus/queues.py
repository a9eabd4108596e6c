"""The two bounded queues between a connection and whoever reads it.

`Inbox`: what waits for `events()`. QoS 0: at most `limit`, the oldest is dropped and counted, because a
newer activation or state makes an older one worthless. QoS 1: never dropped; the broker holds the rest
back, as it was told the same limit as ReceiveMaximum (MQTT 5, section 3.1.2.11.3). Link changes: never
dropped; an outage that nobody has read of gives way to newer news, so a stalled reader costs nothing.

`AckWindow`: acknowledgements leave in the order of receipt (MQTT 5, requirement MQTT-4.6.0-2), in
whatever order the deliveries are handled.

Neither knows a transport, a clock or a thread.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from bus.connection import ConnectionEvent, Delivery, LinkDown, LinkUp


class Inbox:
    """Events waiting for their one reader.

    Args:
        limit: QoS 0 deliveries that may wait, at least 1.
    """

    def __init__(self, limit: int) -> None:
        self.dropped = 0
        self._limit = limit
        self._events: deque[ConnectionEvent] = deque()
        self._unreliable = 0  # QoS 0 deliveries in `_events`
        self._closed = False
        self._reader: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: ConnectionEvent) -> None:
        """Add an event; never blocks."""
        match event:
            case Delivery(qos=0):
                self._put_unreliable(event)
            case LinkDown():
                self._put_down(event)
            case _:
                self._events.append(event)
        self._wake()

    def _put_unreliable(self, delivery: Delivery) -> None:
        if self._unreliable >= self._limit:
            self.dropped += 1
            self._drop_oldest_unreliable()
        self._unreliable += 1
        self._events.append(delivery)

    def _drop_oldest_unreliable(self) -> None:
        """Drop one; there is one, since the limit is at least 1."""
        unreliable = (
            i for i, event in enumerate(self._events) if isinstance(event, Delivery) and not event.qos
        )
        del self._events[next(unreliable)]
        self._unreliable -= 1

    def _put_down(self, event: LinkDown) -> None:
        """Add an outage in the place of one that is unread, unless deliveries lie between."""
        events = self._events
        if len(events) >= 2 and isinstance(events[-1], LinkUp) and isinstance(events[-2], LinkDown):
            events.pop()
        if events and isinstance(events[-1], LinkDown):
            unread = events.pop()
            assert isinstance(unread, LinkDown)
            event = LinkDown(event.reason, event.taken_over or unread.taken_over)
        events.append(event)

    def take(self) -> ConnectionEvent | None:
        """Remove and return the oldest event, None if there is none."""
        if not self._events:
            return None
        event = self._events.popleft()
        if isinstance(event, Delivery) and event.qos == 0:
            self._unreliable -= 1
        return event

    def close(self) -> None:
        """End `read` once what waits has been read."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        reader = self._reader
        if reader is not None and not reader.done():
            reader.set_result(None)

    async def read(self) -> AsyncIterator[ConnectionEvent]:
        """Yield events until closed."""
        while True:
            event = self.take()
            if event is not None:
                yield event
            elif self._closed:
                return
            else:
                self._reader = asyncio.get_running_loop().create_future()
                try:
                    await self._reader
                finally:
                    self._reader = None


class AckWindow:
    """Deliveries of one connection that are not acknowledged yet, in order of receipt."""

    def __init__(self) -> None:
        self._handled: dict[int, bool] = {}  # packet id -> handled; a dict keeps the order

    def received(self, packet_id: int) -> None:
        """Note a QoS 1 delivery; its packet id is free again only after its acknowledgement."""
        self._handled[packet_id] = False

    def handled(self, packet_id: int) -> list[int]:
        """Mark one handled; return the packet ids to acknowledge now. A second call changes nothing."""
        if self._handled.get(packet_id) is not False:
            return []
        self._handled[packet_id] = True
        ready: list[int] = []
        for oldest, done in self._handled.items():
            if not done:
                break
            ready.append(oldest)
        for oldest in ready:
            del self._handled[oldest]
        return ready
