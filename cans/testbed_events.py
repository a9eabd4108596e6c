"""What breaks in a testbed's site, done to its processes and links."""

import asyncio
from collections.abc import Sequence
from typing import assert_never

from cans.testbed_site import Site
from lab.simulator import spec


class SiteEvents:
    """Implements `lab.testbed.coordinator.Events`.

    Args:
        site: is broken, and mended.
    """

    def __init__(self, site: Site) -> None:
        self._site = site

    async def happen(self, event: spec.Event, devices: Sequence[str]) -> None:
        """As `Events.happen`.

        Raises:
            ConfigurationError: the broker does not start again.
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
            case "broker_restarted":
                assert site.served_by is not None
                await site.served_by.stop()
                await asyncio.sleep(event.for_s)
                await site.served_by.restart()
            case _:
                assert_never(event.what)

    async def _hold(self, devices: Sequence[str], *, on: bool) -> None:
        for device in devices:
            await self._site.links.hold(device, on=on)
