"""A testbed's devices as network namespaces of this machine: the kernel's means instead of ours."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bus.address import BrokerAddress
from bus.errors import ConfigurationError
from cans.site_processes import Child, Children
from cans.testbed.ground import FIRST_RATE_MBIT, PREFIX, HeldLinks, LaidLinks
from lab.links import LinkSpec
from lab.marks import marks
from lab.namespaces.able import first_unmet
from lab.namespaces.leftovers import Leftovers, find_leftovers, remove_leftovers
from lab.namespaces.names import NAMESPACES
from lab.testbed.plan import Plan, TestDevice


class Netns:
    """Implements `Ground` as root on Linux.

    Broker, aggregator, edge worker and coordinator stay where they are; each device has a namespace, which a
    process of its own holds (`lab/namespaces`), and a share of one processor.

    Args:
        plan: its devices have links and types.
        children: starts and ends processes.
        slowness: device type to how small a share of a processor makes it as slow as it should be; its
            type's slowness where nobody has tried.
    """

    mode = "netns"
    host = "127.0.0.1"
    emulated = (
        "devices (a CPU quota each, such that the whole network takes what the type says; the kernel looks "
        "at its ticks: work shorter than some milliseconds may run at full speed), the rate of links (tc "
        "tbf, one rate a second), their delay (a proxy: tbf has none); TCP over them, broker, edge worker, "
        "aggregator, network and every message are real"
    )
    broker: BrokerAddress | None = None
    prefix = PREFIX

    def __init__(self, plan: Plan, children: Children, slowness: Mapping[str, float] | None = None) -> None:
        self._plan = plan
        self._children = children
        self._slowness = slowness or {}
        self._laid: dict[str, dict[str, Any]] = {}

    def seen_by_coordinator(self, broker: BrokerAddress) -> BrokerAddress:
        """As `Ground.seen_by_coordinator`."""
        return broker

    def seen_by(self, device: str, broker: BrokerAddress) -> BrokerAddress:
        """As `Ground.seen_by`."""
        laid = self._laid[device]
        return replace(broker, host=laid["host"], port=laid["port"])

    def orders_for(self, device: str, broker: BrokerAddress) -> BrokerAddress:
        """As `Ground.orders_for`: over a second pair of interfaces, which is not shaped."""
        laid = self._laid[device]
        return replace(broker, host=laid["orders_host"], port=laid["orders_port"])

    def slowed(self, device: TestDevice, profile: Path) -> list[str]:
        """As `Ground.slowed`: it loads at full speed, which nobody measures, and enters its cgroup then."""
        return ["--lab-cgroup", self._laid[device.name]["cgroup"], "--edge-profile", str(profile)]

    async def lay(self, broker: BrokerAddress) -> LaidLinks:
        """As `Ground.lay`."""
        arguments = ["lab.namespaces", "--target", f"{broker.host}:{broker.port}"]
        for device in self._plan.devices:
            spec = LinkSpec(FIRST_RATE_MBIT, self._plan.testbed.down_mbit_s, device.kind.link.delay_ms)
            arguments += ["--link", f"{device.name}={spec.argument}"]
            arguments += [
                "--slowness",
                f"{device.name}={self._slowness.get(device.kind.name, device.kind.slowness)}",
            ]
        links = HeldLinks(await self._children.start("links", arguments, pipes=True))
        self._laid = await links.answer()
        return links

    async def start(self, node: str, arguments: Sequence[str]) -> Child:
        """As `Ground.start`."""
        laid = self._laid.get(node)
        # Not ip netns exec: that hides the cgroups from who it starts.
        within = ["nsenter", f"--net={NAMESPACES / laid['namespace']}", "--"] if laid else []
        return await self._children.start(node, arguments, within=within)


def require_netns() -> None:
    """Make sure that this machine can do it; blocks.

    Raises:
        ConfigurationError: it cannot.
    """
    unmet = first_unmet()
    if unmet is not None:
        raise ConfigurationError(
            f"--mode netns needs {unmet.name} ({unmet.found}): {unmet.mend}; `cans doctor testbed` says "
            "more, and --mode portable needs nothing of that"
        )


def find_left() -> Leftovers:
    """Return what killed runs have left in the kernel; blocks."""
    return find_leftovers(marks())


def remove_left() -> Leftovers:
    """Remove what killed runs have left in the kernel, as root; return what that was. Blocks.

    Raises:
        ConfigurationError: not all of it could be removed.
    """
    found = find_left()
    if not found or os.geteuid() != 0:
        return Leftovers()
    remove_leftovers(found)
    return found
