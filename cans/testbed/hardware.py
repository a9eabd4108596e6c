"""A testbed on machines that are there: broker and devices that somebody else has started, links as they are.

The coordinator reaches devices over the bus alone. It asks them first who they are (`enlisted`), so that what
does not fit is said before anything is measured; they are let go at the end, whatever happens, and stay.
"""

import asyncio
import contextlib
import shlex
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bus.address import BrokerAddress
from bus.errors import CansError, ConfigurationError
from bus.mqtt import open_connection
from bus.topics import Topics
from cans.site_processes import Child, Children
from cans.testbed.ground import LaidLinks
from cans.testbed.inventory import Inventory
from cans.version import __version__
from lab.testbed.allegiance import SILENCE_S
from lab.testbed.coordinator import (
    Coordinator,
    DeviceBusy,
    Unanswered,
    endpoint_of,
    listening,
)
from lab.testbed.orders import Present, new_mark
from lab.testbed.plan import Plan, TestDevice
from lab.testbed.together import together
from partition.profiles.profile_file import Profile

_ANSWER_S = 20.0
# A coordinator that was killed a moment ago is waited for, and a device tells it from one that plays on.
_BUSY_S = SILENCE_S + 5.0
_ASK_AGAIN_S = 5.0
_EDGE_WAIT_S = 120


class Hardware:
    """Implements `Ground` on devices that run `cans device --lab`.

    Args:
        inventory: what is there.
        plan: its devices are the inventory's.
        children: starts and ends what is started here.
    """

    mode = "hardware"
    host = ""
    emulated = "nothing: devices, links, broker, edge worker, aggregator, network and every message are real"

    def __init__(self, inventory: Inventory, plan: Plan, children: Children) -> None:
        self.broker: BrokerAddress | None = inventory.broker
        self.prefix = inventory.prefix
        self._inventory = inventory
        self._there = {*(device.name for device in plan.devices), *inventory.running}
        self._children = children

    def seen_by_coordinator(self, broker: BrokerAddress) -> BrokerAddress:
        """As `Ground.seen_by_coordinator`."""
        return broker

    def seen_by(self, device: str, broker: BrokerAddress) -> BrokerAddress:
        """As `Ground.seen_by`: who has started it has told it."""
        del device
        return broker

    def orders_for(self, device: str, broker: BrokerAddress) -> BrokerAddress:
        """As `Ground.orders_for`: over its link, there is no other."""
        del device
        return broker

    def slowed(self, device: TestDevice, profile: Path) -> list[str]:
        """As `Ground.slowed`: it is as slow as it is."""
        del device, profile
        return []

    async def lay(self, broker: BrokerAddress) -> LaidLinks:
        """As `Ground.lay`."""
        del broker
        return LinksAsTheyAre()

    async def start(self, node: str, arguments: Sequence[str]) -> Child | None:
        """As `Ground.start`: nothing for what is there already."""
        if node in self._there:
            return None
        return await self._children.start(node, [*arguments, *self._inventory.login])


class LinksAsTheyAre:
    """Implements `LaidLinks`: nothing is shaped, and nothing can be emptied."""

    def __init__(self) -> None:
        self.processes: list[Child] = []

    async def settle(self, devices: Sequence[str]) -> None:
        """As `Links.settle`: what is on its way comes when it comes."""

    async def play(self, device: str, mbit_s: Sequence[float], at_s: float) -> None:
        """As `Links.play`: no trace is played."""

    async def hold(self, device: str, *, on: bool) -> None:
        """As `Links.hold`: nobody can; experiments that would are refused before."""


@dataclass(slots=True)
class Enlisted:
    """Devices that play for this coordinator.

    Attributes:
        coordinator: theirs; its plan is to be replaced by what is measured.
        inventory: which they are.
        present: what they say of themselves, by name.
    """

    coordinator: Coordinator
    inventory: Inventory
    present: Mapping[str, Present]


@contextlib.asynccontextmanager
async def enlisted(plan: Plan, inventory: Inventory) -> AsyncIterator[Enlisted]:
    """Have the devices for as long as the block; let them go then, to whoever comes next.

    Raises:
        BrokerUnreachable, BrokerRefused: no broker, or not for us.
        ConfigurationError: a device is not there, or another version; each is named, with what to run.
        TestbedError: a device plays for somebody else.
    """
    topics, mark = Topics(inventory.prefix), new_mark()
    async with open_connection(inventory.broker, endpoint_of(topics, mark)) as connection:
        coordinator = Coordinator(plan, connection, topics, LinksAsTheyAre(), lambda *_: None, mark)
        async with listening(coordinator):
            keeping = asyncio.create_task(coordinator.keep(), name="coordinator keeps")
            try:
                yield Enlisted(coordinator, inventory, await _roll_call(plan, coordinator, inventory))
            finally:
                keeping.cancel()
                # Shielded: a second Ctrl-C must not leave them waiting for us. Who is silent is gone anyway.
                leaving = asyncio.create_task(_let_go(coordinator), name="coordinator leaves")
                await asyncio.shield(leaving)


async def _let_go(coordinator: Coordinator) -> None:
    if not coordinator.has_left:
        with contextlib.suppress(CansError):
            await coordinator.leave(stay=True)


async def _roll_call(plan: Plan, coordinator: Coordinator, inventory: Inventory) -> dict[str, Present]:
    answers = await together(_answer(coordinator, device.name) for device in plan.devices)
    absent = [device for device, answer in zip(plan.devices, answers, strict=True) if answer is None]
    if absent:
        lines = "\n".join(f"    {run_line(plan, device, inventory)}" for device in absent)
        names = ", ".join(device.name for device in absent)
        raise ConfigurationError(
            f"no answer from {names} at {inventory.broker.url} under the prefix {inventory.prefix}: "
            f"{_copied(plan)}run there\n{lines}"
        )
    return {
        device.name: answer
        for device, answer in zip(plan.devices, answers, strict=True)
        if answer is not None
    }


async def _answer(coordinator: Coordinator, device: str) -> Present | None:
    """Return what a device says, None if nothing; one that is not free yet is asked again for a while."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _BUSY_S
    while True:
        try:
            return await coordinator.enlist(device, _ANSWER_S)
        except Unanswered:
            return None
        except DeviceBusy:
            if loop.time() > until:
                raise
        await asyncio.sleep(_ASK_AGAIN_S)


def run_line(plan: Plan, device: TestDevice, inventory: Inventory) -> str:
    """Return what to run on a device, as a person types it there."""
    testbed = plan.testbed
    parts = [
        *("cans", "device", "--lab", "--id", device.name, "--type", device.kind.name.lower()),
        *("--broker", _without_user(inventory.broker), "--prefix", inventory.prefix, "--wait-for-broker"),
        *("--wait-edge-s", str(_EDGE_WAIT_S), "--model", plan.model),
        *(("--codecs", ",".join(testbed.codecs)) if testbed.codecs else ()),
        *(("--weights", Path(testbed.weights).name) if testbed.weights else ()),
        *(("--source", Path(testbed.source).name) if testbed.source else ()),
    ]
    return shlex.join(parts)


def _copied(plan: Plan) -> str:
    """Return what has to be on a device before."""
    files = [each for each in (plan.testbed.weights, plan.testbed.source) if each and Path(each).exists()]
    return f"copy {' and '.join(files)} there, and " if files else ""


def _without_user(broker: BrokerAddress) -> str:
    """Return the URL without the coordinator's user: a device that needs one has its own."""
    return BrokerAddress(broker.host, broker.port, tls=broker.tls).url


def require_alike(plan: Plan, present: Mapping[str, Present], inventory: Inventory, profile: Profile) -> None:
    """Make sure that the devices play what the experiment is of.

    Args:
        plan: with the weights that are played.
        present: what the devices say of themselves.
        inventory: which they are.
        profile: of this machine, of the network that its edge worker serves.

    Raises:
        ConfigurationError: another version of the software, another network, other codecs.
    """
    arms = tuple(arm.label for arm in profile.arms)
    for device in plan.devices:
        said = present[device.name]
        version = said.versions.get("cans", "")
        line = run_line(plan, device, inventory)
        if version != __version__:
            raise ConfigurationError(
                f"the device {device.name} runs cans {version}, and this is {__version__}: install one "
                "version everywhere"
            )
        if said.model != profile.model:
            raise ConfigurationError(
                f"the device {device.name} plays another network ({said.label}, {said.model}) than the "
                f"experiment ({profile.name} {profile.weights}, {profile.model}): {_copied(plan)}run {line}"
            )
        if said.arms != arms:
            raise ConfigurationError(
                f"the device {device.name} plays other arms than the experiment "
                f"({_difference(said.arms, arms)}): run {line}"
            )


def _difference(its: Iterable[str], ours: Iterable[str]) -> str:
    odd = sorted(set(its) ^ set(ours))
    return f"{odd[0]} is on one side alone" if odd else "in another order"


def emulated_by(present: Mapping[str, Present]) -> str:
    """Return what is not real about devices that were started with --emulate; what is, for all others."""
    pretending = [name for name, said in present.items() if said.emulated]
    if not pretending:
        return Hardware.emulated
    return f"the slowness of {', '.join(pretending)} (started with --emulate); all else is real"
