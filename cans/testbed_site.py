"""A testbed's site, started and ended: broker, links, aggregator, edge worker, devices, each a process.

What runs where, and over which links, is the ground's (`cans/testbed_ground.py`).
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from bus.address import BrokerAddress
from cans.broker import BrokerProcess, BrokerSettings
from cans.site_processes import Child, Children
from cans.testbed_ground import Ground
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
        processes: whose end is the end of the experiment.
    """

    broker: BrokerAddress
    links: Links
    processes: list[Child]


@contextlib.asynccontextmanager
async def running_site(plan: Plan, profile: Path, children: Children, ground: Ground) -> AsyncIterator[Site]:
    """Start everything; end the broker at last.

    Args:
        plan: what is to be played.
        profile: of this machine, as `cans profile` writes it.
        children: ends the processes.
        ground: where they run.
    """
    async with _broker(ground, children.logs / "broker.log") as broker:
        address = ground.seen_by_coordinator(broker)
        links = await ground.lay(address)
        processes = [*links.processes, *await _start(plan, profile, children, ground, address)]
        yield Site(address, links, processes)


@contextlib.asynccontextmanager
async def _broker(ground: Ground, log_file: Path) -> AsyncIterator[BrokerAddress]:
    """Start a broker, where the ground has none; end it then."""
    if ground.broker is not None:
        yield ground.broker
        return
    with log_file.open("w", encoding="utf-8") as log:

        def keep(line: str) -> None:
            print(line, file=log, flush=True)

        async with BrokerProcess(BrokerSettings(host=ground.host, port=0), on_line=keep) as broker:
            yield broker.address


async def _start(
    plan: Plan, profile: Path, children: Children, ground: Ground, broker: BrokerAddress
) -> list[Child]:
    testbed = plan.testbed
    common = ["--prefix", ground.prefix, "--metrics-s", "60", "--detail", f"testbed, {ground.mode}"]
    network = ["--model", plan.model]
    network += ["--codecs", ",".join(testbed.codecs)] if testbed.codecs else []
    weights = ["--weights", testbed.weights] if testbed.weights else []
    groups = ["--largest-groups", str(_GROUPS), "--largest-installs", "16", "--no-guard"]
    state = ["--state-dir", str(children.logs / "aggregator-state")]
    central = ["--broker", broker.url, *common]
    served = ["--model", f"{plan.model}={testbed.weights}" if testbed.weights else plan.model, *network[2:]]
    workers = ["--workers", str(testbed.edge_workers), "--largest-batch", str(testbed.largest_batch)]
    started = [
        await ground.start("aggregator", ["cans", "aggregator", *state, *groups, *central]),
        await ground.start("edge", ["cans", "edge", *workers, *served, *central]),
    ]
    for device in plan.devices:
        own = ground.seen_by(device.name, broker)
        arguments = [
            *("cans", "device", "--lab", "--id", device.name, "--type", device.kind.name.lower()),
            *("--broker", own.url, "--lab-broker", ground.orders_for(device.name, broker).url),
            *("--wait-edge-s", str(_EDGE_START_S)),
            *(("--source", testbed.source) if testbed.source else ()),
            *(*network, *weights, *ground.slowed(device, profile), *common),
        ]
        started.append(await ground.start(device.name, arguments))
    return [child for child in started if child is not None]
