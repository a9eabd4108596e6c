"""Plays an experiment for real: a whole site as processes of this machine, block by block, then sums up.

Composition only: `lab/testbed/` knows what to play and what it means; this starts and ends what it takes.
"""

import asyncio
import contextlib
import json
import os
import platform
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bus.address import BrokerAddress
from bus.errors import ConfigurationError
from bus.mqtt import open_connection
from bus.topics import Topics
from cans.broker import BrokerProcess, BrokerSettings
from cans.simulate import SimulateSettings, simulate
from cans.site_processes import Child, Children, end_leftovers
from cans.versions import versions
from lab.links import LinkSpec
from lab.simulator.experiment import load
from lab.simulator.jobs import world_fingerprint
from lab.simulator.summary import Report
from lab.testbed.coordinator import (
    Coordinator,
    Repetition,
    TestbedError,
    endpoint_of,
    listening,
    path_of,
    read,
    write,
)
from lab.testbed.plan import Block, Plan
from lab.testbed.results import ESTIMATES, summarise

_PREFIX = "cans/testbed"
_PROFILE_ROUNDS = 40
_EDGE_START_S = 120.0
_FIRST_RATE_MBIT = 100.0
# Groups of a whole experiment: a policy's for each repetition.
_GROUPS = 1024


@dataclass(frozen=True, slots=True)
class TestbedSettings:
    """What `cans testbed` was told.

    Attributes:
        experiment: the TOML file.
        out: folder of results and logs.
        seeds: repetitions, instead of the experiment's own; None for those.
        policies: names to play, all when empty.
        traces: folder of recorded links that take the place of generated ones, None for none.
        overrides: "world.frames=40".
        resume: go on with the repetitions that are not there yet; else begin anew.
        quiet: no progress.
        command: what was typed, for the report.
    """

    __test__ = False  # no test, for pytest

    experiment: Path
    out: Path
    seeds: int | None = None
    policies: tuple[str, ...] = ()
    traces: Path | None = None
    overrides: tuple[str, ...] = ()
    resume: bool = False
    quiet: bool = False
    command: str = ""

    @property
    def said(self) -> tuple[str, ...]:
        """All that changes the experiment, as overrides of its file."""
        more = list(self.overrides)
        if self.seeds is not None:
            more.append(f"seeds={self.seeds}")
        if self.traces is not None:
            more.append(f"world.traces={json.dumps(str(self.traces.resolve()))}")
        return tuple(more)


async def run_testbed(settings: TestbedSettings) -> Report:
    """Play what is missing; return what `summary.json` holds.

    Raises:
        ConfigurationError: something in the experiment or on this machine cannot be.
        TestbedError: a device failed meanwhile.
    """
    console = Console(stderr=True)
    ended = await asyncio.to_thread(end_leftovers)
    if ended:
        console.print(f"testbed: ended {ended} processes that a killed run had left")
    settings.out.mkdir(parents=True, exist_ok=True)
    plan = Plan(load(settings.experiment, overrides=settings.said, only=settings.policies))
    kept = _kept(settings, plan)
    missing = [seed for seed in plan.seeds if seed not in kept]
    async with Children(settings.out / "logs") as children:
        profile = await _profile(settings, plan, children, console)
        measured = replace_network(plan, profile)
        predicted = await asyncio.to_thread(_predict, settings, profile, console)
        if missing:
            async with _site(settings, measured, profile, children) as site:
                await _play(settings, measured, site, missing, console)
    repetitions = [read(path_of(settings.out, seed)) for seed in plan.seeds]
    report = summarise(measured, repetitions, _provenance(settings, measured, repetitions))
    report["predicted"] = predicted
    _write(settings.out / "summary.json", json.dumps(report, indent=1) + "\n")
    return report


def replace_network(plan: Plan, profile: Path) -> Plan:
    """Return the plan in a world whose network is what this machine has just measured."""
    import msgspec  # noqa: PLC0415 - as simulate does

    experiment = plan.experiment
    world = msgspec.structs.replace(plan.world, network=str(profile))
    testbed = msgspec.structs.replace(plan.testbed, model=plan.model)
    return Plan(
        msgspec.structs.replace(
            experiment,
            world=world,
            worlds=dict.fromkeys(experiment.worlds, world),
            testbed=testbed,
        )
    )


def _kept(settings: TestbedSettings, plan: Plan) -> set[int]:
    """Return the repetitions that need not be played again.

    Raises:
        ConfigurationError: the folder holds some, of this or of another experiment, and nobody said --resume.
    """
    there = {seed for seed in plan.seeds if path_of(settings.out, seed).exists()}
    any_there = any((settings.out / "rounds").glob("seed-*.json"))
    mark = settings.out / "experiment.json"
    said = json.dumps(
        {"experiment": settings.experiment.read_text(encoding="utf-8"), "said": list(settings.said)}
    )
    if any_there and not settings.resume:
        raise ConfigurationError(
            f"{settings.out} holds repetitions already: go on with --resume, or give another --out"
        )
    if any_there and mark.exists() and _but_seeds(mark.read_text()) != _but_seeds(said):
        raise ConfigurationError(
            f"{settings.out} holds repetitions of another experiment, or of other settings: "
            "give another --out"
        )
    _write(mark, said)
    return there


def _but_seeds(said: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    found = json.loads(said)
    found["said"] = [each for each in found["said"] if not each.startswith("seeds=")]
    return found


async def _profile(settings: TestbedSettings, plan: Plan, children: Children, console: Console) -> Path:
    """Return a profile of this machine, measured once a folder, while it is quiet."""
    path = settings.out / "profile.json"
    if not path.exists():
        console.print("testbed: measuring this machine, leave it alone")
        codecs = ("--codecs", ",".join(plan.testbed.codecs)) if plan.testbed.codecs else ()
        await children.run(
            "profile",
            ["cans", "profile", plan.model, "--repeats", str(_PROFILE_ROUNDS), *codecs, "--out", str(path)],
        )
    return path.resolve()


def _predict(settings: TestbedSettings, profile: Path, console: Console) -> dict[str, Any]:
    """Return what the simulator says will come out, before anything is played."""
    path = settings.out / "predicted" / "summary.json"
    if not path.exists():
        console.print("testbed: predicting by simulation")
        simulate(
            SimulateSettings(
                settings.experiment,
                settings.out / "predicted",
                policies=settings.policies,
                overrides=(*settings.said, f"world.network={json.dumps(str(profile))}"),
                processes=os.cpu_count() or 1,
                quiet=settings.quiet,
            )
        )
    found: dict[str, Any] = json.loads(path.read_text())["policies"]
    return found


@dataclass(slots=True)
class _Site:
    """A running site: where its broker is, its devices and what they need."""

    broker: BrokerAddress
    links: "_LinkProcess"
    children: Children
    others: list[Child]
    devices: list[Child]


@contextlib.asynccontextmanager
async def _site(
    settings: TestbedSettings, plan: Plan, profile: Path, children: Children
) -> AsyncIterator[_Site]:
    """Start broker, links, aggregator, edge worker and devices."""
    log = (settings.out / "logs" / "broker.log").open("w", encoding="utf-8")
    with log:

        def keep(line: str) -> None:
            print(line, file=log, flush=True)

        async with BrokerProcess(BrokerSettings(port=0), on_line=keep) as broker:
            links = await _LinkProcess.start(children, broker.address, plan)
            yield await _start(plan, profile, children, broker.address, links)


async def _start(
    plan: Plan, profile: Path, children: Children, broker: BrokerAddress, links: "_LinkProcess"
) -> _Site:
    testbed = plan.testbed
    common = ["--prefix", _PREFIX, "--metrics-s", "60", "--detail", "testbed"]
    codecs = ["--codecs", ",".join(testbed.codecs)] if testbed.codecs else []
    network = ["--model", plan.model, *codecs]
    groups = ["--largest-groups", str(_GROUPS), "--largest-installs", "16", "--no-guard"]
    state = children.logs / "aggregator-state"
    aggregator = await children.start(
        "aggregator",
        ["cans", "aggregator", "--state-dir", str(state), *groups, "--broker", broker.url, *common],
    )
    workers = ["--workers", str(testbed.edge_workers)]
    edge = await children.start("edge", ["cans", "edge", *workers, *network, "--broker", broker.url, *common])
    devices = []
    for device in plan.devices:
        own = replace(broker, host="127.0.0.1", port=links.ports[device.name]).url
        slow = device.kind.slowness
        emulated = ["--emulate", str(profile), "--slowness", str(slow)]
        arguments = [
            *("cans", "device", "--lab", "--id", device.name, "--type", device.kind.name.lower()),
            *("--broker", own, "--lab-broker", broker.url, "--wait-edge-s", str(_EDGE_START_S)),
            *(*network, *emulated, *common),
        ]
        devices.append(await children.start(device.name, arguments))
    return _Site(broker, links, children, [aggregator, edge, links.child], devices)


class _LinkProcess:
    """Implements `lab.testbed.coordinator.Links` with the process that emulates links."""

    def __init__(self, child: Child, ports: dict[str, int]) -> None:
        self.child = child
        self.ports = ports

    @classmethod
    async def start(cls, children: Children, broker: BrokerAddress, plan: Plan) -> "_LinkProcess":
        """Start it, with a link for each device."""
        arguments = ["lab.links", "--target", f"{broker.host}:{broker.port}"]
        for device in plan.devices:
            spec = LinkSpec(_FIRST_RATE_MBIT, plan.testbed.down_mbit_s, device.kind.link.delay_ms)
            arguments += ["--link", f"{device.name}={spec.argument}"]
        child = await children.start("links", arguments, pipes=True)
        return cls(child, await _answer(child))

    async def settle(self) -> None:
        """As `Links.settle`."""
        await self._tell({"settle": list(self.ports)})
        await _answer(self.child)

    async def play(self, device: str, mbit_s: Sequence[float], at_s: float) -> None:
        """As `Links.play`."""
        await self._tell({"link": device, "trace_mbit": list(mbit_s), "at_s": at_s})

    async def _tell(self, order: dict[str, Any]) -> None:
        assert self.child.process.stdin is not None
        self.child.process.stdin.write(json.dumps(order).encode() + b"\n")
        await self.child.process.stdin.drain()


async def _answer(child: Child) -> dict[str, Any]:
    assert child.process.stdout is not None
    line = await child.process.stdout.readline()
    if not line:
        await child.process.wait()
        raise child.failure()
    found: dict[str, Any] = json.loads(line)
    return found


async def _play(
    settings: TestbedSettings, plan: Plan, site: _Site, missing: Sequence[int], console: Console
) -> None:
    """Play the repetitions that are missing, with a bar."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} blocks"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=settings.quiet,
    )
    topics = Topics(_PREFIX)
    blocks = plan.rounds * len(plan.policies)
    with bar:
        task = bar.add_task("joining", total=blocks * len(missing))

        def tell(block: Block) -> None:
            bar.update(task, advance=1, description=f"seed {seed}, round {block.round + 1}/{plan.rounds}")

        async with open_connection(site.broker, endpoint_of(topics)) as connection:
            coordinator = Coordinator(plan, connection, topics, site.links, tell)
            async with listening(coordinator):
                for seed in missing:
                    write(await _watched(site, coordinator.repetition(seed)), settings.out)
                await coordinator.leave()


async def _watched(site: _Site, playing: Coroutine[Any, Any, Repetition]) -> Repetition:
    """Play a repetition; a process that dies meanwhile ends it with its last words."""
    repetition = asyncio.create_task(playing, name="repetition")
    died = asyncio.create_task(site.children.watch([*site.others, *site.devices]), name="watch")
    try:
        done, _ = await asyncio.wait({repetition, died}, return_when=asyncio.FIRST_COMPLETED)
        if died in done:
            died.result()
        return await repetition
    finally:
        for task in (repetition, died):
            task.cancel()
        await asyncio.wait({repetition, died})


def _write(path: Path, text: str) -> None:
    unfinished = path.with_suffix(path.suffix + ".part")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def _provenance(settings: TestbedSettings, plan: Plan, repetitions: Sequence[Repetition]) -> dict[str, Any]:
    experiment = plan.experiment
    return {
        "title": experiment.title,
        "experiment": settings.experiment.name,
        "overrides": list(settings.said),
        "worlds": {
            policy: world_fingerprint(plan.world) for policy in [*plan.policies, *experiment.policies]
        },
        "settle_frames": experiment.settle_frames,
        "seeds": [plan.seeds[0], plan.seeds[-1]],
        "simulated": False,
        "mode": "portable",
        "emulated": "devices (computing stretched by sleeping) and links (a shaping proxy); broker, edge "
        "worker, aggregator, networks and every message are real",
        "estimated": ESTIMATES,
        "machine": platform.platform(),
        "processors": os.cpu_count(),
        "devices": {name: joined.label for each in repetitions[:1] for name, joined in each.joined.items()},
        "seconds": [round(each.took_s, 1) for each in repetitions],
        "command": settings.command,
        "versions": versions(),
    }


__all__ = ["TestbedError", "TestbedSettings", "run_testbed"]
