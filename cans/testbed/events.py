"""What breaks in a testbed's site, done to its processes and links."""

import asyncio
from collections.abc import Sequence
from typing import assert_never

from bus.connection import Connection, Delivery, Endpoint
from bus.errors import RemoteProtocolError
from bus.messages import State
from bus.mqtt import open_connection
from bus.topics import STATE, Role, Topics
from bus.wire import decode
from cans.testbed.site import Site
from lab.simulator import spec
from lab.testbed.coordinator import TestbedError
from lab.testbed.orders import new_mark

# On a machine that starts one for each of many sites at once.
_SERVES_S = 120.0


class SiteEvents:
    """Implements `lab.testbed.coordinator.Events`.

    Args:
        site: is broken, and mended.
    """

    def __init__(self, site: Site) -> None:
        self._site = site

    async def happen(self, event: spec.Event, devices: Sequence[str]) -> None:
        """As `Events.happen`; an edge worker that was away serves again before it returns.

        Raises:
            ConfigurationError: the broker does not start again.
            TestbedError: the edge worker does not.
        """
        site = self._site
        match event.what:
            case "link_gone":
                await self._hold(devices, on=True)
                await asyncio.sleep(event.for_s)
                await self._hold(devices, on=False)
            case "edge_killed":
                await site.kill_edge()
                await asyncio.sleep(event.for_s)
                await site.start_edge()
                await self._edge_serves()
            case "broker_restarted":
                assert site.served_by is not None
                await site.served_by.stop()
                await asyncio.sleep(event.for_s)
                await site.served_by.restart()
                await self._edge_serves()
            case _:
                assert_never(event.what)

    async def _hold(self, devices: Sequence[str], *, on: bool) -> None:
        for device in devices:
            await self._site.links.hold(device, on=on)

    async def _edge_serves(self) -> None:
        """Wait until the edge worker says so: the next policy's block must not pay for this one's event."""
        topics = Topics(self._site.prefix)
        name = f"{topics.prefix}:lab:events:{new_mark()}".replace("/", ".")
        endpoint = Endpoint(name, subscriptions=((topics.filter(STATE, role=Role.EDGE), STATE.qos),))
        try:
            async with (
                asyncio.timeout(_SERVES_S),
                open_connection(self._site.broker, endpoint) as connection,
            ):
                await _until_ready(connection)
        except TimeoutError:
            raise TestbedError(
                f"the edge worker does not serve again {_SERVES_S:.0f} s after it was started or its broker "
                "was: see its log in the folder logs"
            ) from None


async def _until_ready(connection: Connection) -> None:
    async for event in connection.events():
        if not isinstance(event, Delivery):
            continue
        event.ack()
        try:
            state = decode(STATE, event.payload, State)
        except RemoteProtocolError:
            continue
        if state.state == "ready":
            return
