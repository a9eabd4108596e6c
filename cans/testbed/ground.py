"""Where the nodes of a testbed run, and what lies between them: processes and proxies, or more.

`Portable` needs no rights: links are shaped by a proxy, devices are slowed by sleeping.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from bus.address import BrokerAddress
from cans.site_processes import Child, Children
from lab.links import LinkSpec
from lab.testbed.coordinator import Links
from lab.testbed.plan import Plan, TestDevice

PREFIX = "cans/testbed"
"""First levels of every topic of a testbed."""
# Until a trace plays; slices and buffers are sized by it.
FIRST_RATE_MBIT = 100.0


class LaidLinks(Links, Protocol):
    """Links with the processes that hold them."""

    processes: list[Child]


class Ground(Protocol):
    """Where a site stands.

    Attributes:
        mode: its name.
        host: on which the broker listens.
        emulated: what is not real about it, for reports.
        broker: the one that is there already; None to start one.
        prefix: first levels of every topic.
    """

    mode: str
    host: str
    emulated: str
    broker: BrokerAddress | None
    prefix: str

    def seen_by_coordinator(self, broker: BrokerAddress) -> BrokerAddress:
        """Return where the coordinator, aggregator and edge worker reach the broker."""
        ...

    def seen_by(self, device: str, broker: BrokerAddress) -> BrokerAddress:
        """Return where a device reaches it, over its own link."""
        ...

    def orders_for(self, device: str, broker: BrokerAddress) -> BrokerAddress:
        """Return where a device takes its orders: not over its link, where that can be had."""
        ...

    def slowed(self, device: TestDevice, profile: Path) -> list[str]:
        """Return the flags of `cans device` that make it as slow as its type."""
        ...

    async def lay(self, broker: BrokerAddress) -> LaidLinks:
        """Lay the links of all devices."""
        ...

    async def start(self, node: str, arguments: Sequence[str]) -> Child | None:
        """Start `python -m ARGUMENTS` on a node: a device, "edge" or "aggregator".

        Returns None where somebody else has started it.
        """
        ...


class Portable:
    """Implements `Ground` on any machine.

    Args:
        plan: its devices have links.
        children: starts and ends processes.
    """

    mode = "portable"
    host = "127.0.0.1"
    emulated = (
        "devices (computing stretched by sleeping) and links (a shaping proxy); broker, edge worker, "
        "aggregator, network and every message are real"
    )
    broker: BrokerAddress | None = None
    prefix = PREFIX

    def __init__(self, plan: Plan, children: Children) -> None:
        self._plan = plan
        self._children = children
        self._ports: dict[str, int] = {}

    def seen_by_coordinator(self, broker: BrokerAddress) -> BrokerAddress:
        """As `Ground.seen_by_coordinator`."""
        return broker

    def seen_by(self, device: str, broker: BrokerAddress) -> BrokerAddress:
        """As `Ground.seen_by`."""
        return replace(broker, host="127.0.0.1", port=self._ports[device])

    def orders_for(self, device: str, broker: BrokerAddress) -> BrokerAddress:
        """As `Ground.orders_for`."""
        del device
        return broker

    def slowed(self, device: TestDevice, profile: Path) -> list[str]:
        """As `Ground.slowed`."""
        return ["--emulate", str(profile), "--slowness", str(device.kind.slowness)]

    async def lay(self, broker: BrokerAddress) -> LaidLinks:
        """As `Ground.lay`."""
        arguments = ["lab.links", "--target", f"{broker.host}:{broker.port}"]
        for device in self._plan.devices:
            spec = LinkSpec(FIRST_RATE_MBIT, self._plan.testbed.down_mbit_s, device.kind.link.delay_ms)
            arguments += ["--link", f"{device.name}={spec.argument}"]
        links = HeldLinks(await self._children.start("links", arguments, pipes=True))
        self._ports = await links.answer()
        return links

    async def start(self, node: str, arguments: Sequence[str]) -> Child:
        """As `Ground.start`."""
        return await self._children.start(node, arguments)


class HeldLinks:
    """Implements `LaidLinks` with a process that holds links and obeys (`lab/links.py`, `lab/namespaces`)."""

    def __init__(self, child: Child) -> None:
        self.processes = [child]
        self._child = child
        self._settling = asyncio.Lock()  # an answer says nothing of whose it is

    async def settle(self, devices: Sequence[str]) -> None:
        """As `Links.settle`."""
        async with self._settling:
            await self._tell({"settle": list(devices)})
            await self.answer()

    async def play(self, device: str, mbit_s: Sequence[float], at_s: float) -> None:
        """As `Links.play`."""
        await self._tell({"link": device, "trace_mbit": list(mbit_s), "at_s": at_s})

    async def hold(self, device: str, *, on: bool) -> None:
        """As `Links.hold`."""
        await self._tell({"link": device, "black_hole": on})

    async def answer(self) -> dict[str, Any]:
        """Return the next line that it says.

        Raises:
            CansError: it has ended.
        """
        assert self._child.process.stdout is not None
        line = await self._child.process.stdout.readline()
        if not line:
            await self._child.process.wait()
            raise self._child.failure()
        found: dict[str, Any] = json.loads(line)
        return found

    async def _tell(self, order: dict[str, Any]) -> None:
        assert self._child.process.stdin is not None
        self._child.process.stdin.write(json.dumps(order).encode() + b"\n")
        await self._child.process.stdin.drain()
