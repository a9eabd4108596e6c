"""A testbed's site, started and ended: broker, links, aggregator, edge worker, devices, each a process.

What runs where, and over which links, is the ground's (`cans/testbed/ground.py`).
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from bus.address import BrokerAddress
from cans.broker.run import BrokerProcess, BrokerSettings
from cans.site_processes import Child, Children
from cans.testbed.ground import Ground
from lab.testbed.coordinator import Links
from lab.testbed.plan import Plan

_EDGE_START_S = 120.0
# Groups of a whole experiment: a policy's for each repetition.
_GROUPS = 1024


@dataclass(slots=True)
class Site:
    """A running site.

    Attributes:
        broker: as the coordinator reaches it.
        links: of its devices.
        processes: whose end is the end of the experiment, but for who is killed on purpose.
        served_by: the broker's process; None where it is somebody else's.
        edge_arguments: what the edge worker is started with.
    """

    broker: BrokerAddress
    links: Links
    processes: list[Child]
    served_by: BrokerProcess | None
    edge_arguments: list[str]
    _ground: Ground
    _edges: list[Child] = field(default_factory=list)

    @property
    def prefix(self) -> str:
        """First levels of every topic of the site."""
        return self._ground.prefix

    def pids(self) -> dict[str, int]:
        """Return the number of each process that was started here, by name."""
        broker = {} if self.served_by is None else {"broker": self.served_by.pid}
        return broker | {each.name: each.process.pid for each in self.processes}

    async def start_edge(self) -> None:
        """Start the edge worker, or start it again; returns before it serves."""
        name = f"edge-{len(self._edges) + 1}" if self._edges else "edge"  # a log of its own
        started = await self._ground.start(name, self.edge_arguments)
        if started is not None:
            self._edges.append(started)
            self.processes.append(started)

    async def kill_edge(self) -> None:
        """Let it end as in a crash."""
        edge = self._edges[-1]
        edge.let_go = True
        self.processes.remove(edge)
        edge.process.kill()
        await edge.process.wait()


@contextlib.asynccontextmanager
async def running_site(plan: Plan, profile: Path, children: Children, ground: Ground) -> AsyncIterator[Site]:
    """Start everything; end the broker at last.

    Args:
        plan: what is to be played.
        profile: of this machine, as `cans profile` writes it.
        children: ends the processes.
        ground: where they run.
    """
    async with _broker(ground, children.logs / "broker.log") as (broker, process):
        address = ground.seen_by_coordinator(broker)
        links = await ground.lay(address)
        served = _edge_arguments(plan, ground, address)
        site = Site(address, links, list(links.processes), process, served, ground)
        await _start(plan, profile, children, site, ground)
        yield site


@contextlib.asynccontextmanager
async def _broker(
    ground: Ground, log_file: Path
) -> AsyncIterator[tuple[BrokerAddress, BrokerProcess | None]]:
    """Start a broker, where the ground has none; end it then."""
    if ground.broker is not None:
        yield ground.broker, None
        return
    with log_file.open("w", encoding="utf-8") as log:

        def keep(line: str) -> None:
            print(line, file=log, flush=True)

        async with BrokerProcess(BrokerSettings(host=ground.host, port=0), on_line=keep) as broker:
            yield broker.address, broker


def _common(ground: Ground) -> list[str]:
    return ["--prefix", ground.prefix, "--metrics-s", "60", "--detail", f"testbed, {ground.mode}"]


def _network(plan: Plan) -> list[str]:
    return ["--codecs", ",".join(plan.testbed.codecs)] if plan.testbed.codecs else []


def _edge_arguments(plan: Plan, ground: Ground, broker: BrokerAddress) -> list[str]:
    weights = plan.testbed.weights
    served = ["--model", f"{plan.model}={weights}" if weights else plan.model, *_network(plan)]
    testbed = plan.testbed
    workers = ["--workers", str(testbed.edge_workers), "--largest-batch", str(testbed.largest_batch)]
    if plan.world.edge_slowness != 1.0:
        workers += ["--slowness", str(plan.world.edge_slowness), "--emulate", str(plan.world.network)]
    # Started again, it may find the broker being restarted too.
    return ["cans", "edge", "--wait-for-broker", *workers, *served, "--broker", broker.url, *_common(ground)]


async def _start(plan: Plan, profile: Path, children: Children, site: Site, ground: Ground) -> None:
    testbed, broker = plan.testbed, site.broker
    network = ["--model", plan.model, *_network(plan)]
    weights = ["--weights", testbed.weights] if testbed.weights else []
    groups = ["--largest-groups", str(_GROUPS), "--largest-installs", "16", "--no-guard"]
    state = ["--state-dir", str(children.logs / "aggregator-state")]
    aggregator = ["cans", "aggregator", *state, *groups, "--broker", broker.url, *_common(ground)]
    started = [await ground.start("aggregator", aggregator)]
    await site.start_edge()
    for device in plan.devices:
        own = ground.seen_by(device.name, broker)
        arguments = [
            *("cans", "device", "--lab", "--id", device.name, "--type", device.kind.name.lower()),
            *("--broker", own.url, "--lab-broker", ground.orders_for(device.name, broker).url),
            *("--wait-edge-s", str(_EDGE_START_S)),
            *(("--source", testbed.source) if testbed.source else ()),
            *(*network, *weights, *ground.slowed(device, profile), *_common(ground)),
        ]
        started.append(await ground.start(device.name, arguments))
    site.processes += [child for child in started if child is not None]
