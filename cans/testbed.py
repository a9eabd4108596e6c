"""Plays an experiment for real: a whole site as processes of this machine, block by block, then sums up.

Composition only: `lab/testbed/` knows what to play and what it means; this starts and ends what it takes.
"""

import asyncio
import json
import os
import platform
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bus.errors import ConfigurationError
from bus.mqtt import open_connection
from bus.topics import Role, Topics
from cans.simulate import SimulateSettings, simulate
from cans.site_processes import Children, end_leftovers
from cans.testbed_events import SiteEvents
from cans.testbed_ground import Ground, Portable
from cans.testbed_hardware import Enlisted, Hardware, emulated_by, enlisted, require_alike
from cans.testbed_hardware_prediction import slowness_of
from cans.testbed_inventory import Inventory
from cans.testbed_netns import Netns, remove_left, require_netns
from cans.testbed_site import Site, running_site
from cans.versions import commit_of, versions
from lab.shaping import Lay, by_kernel, by_proxy
from lab.simulator import spec
from lab.simulator.experiment import load
from lab.simulator.grid import Cell
from lab.simulator.jobs import world_fingerprint
from lab.simulator.summary import Report
from lab.testbed.coordinator import (
    Coordinator,
    Repetition,
    TestbedError,
    Turn,
    endpoint_of,
    listening,
    path_of,
    read,
    write,
)
from lab.testbed.footprint import Footprints
from lab.testbed.footprint import path_of as samples_of
from lab.testbed.links_check import check_links, rates_of
from lab.testbed.orders import new_mark
from lab.testbed.plan import Block, Plan
from lab.testbed.results import ESTIMATES, summarise
from lab.testbed.together import together
from partition.profiles.profile_file import read_profile

TRAINED = "photographs"
"""Weights, and frames, that are made for the purpose."""
_PROFILE_ROUNDS = 40
# Lines of progress in a log.
_TOLD = 20
GROUNDS: dict[str, type[Portable] | type[Netns] | type[Hardware]] = {
    each.mode: each for each in (Portable, Netns, Hardware)
}
LAYS: dict[str, Lay] = {Portable.mode: by_proxy, Netns.mode: by_kernel}
"""How the links of a mode are laid, to be tried by themselves."""


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
        mode: a key of `GROUNDS`.
        resume: go on with the repetitions that are not there yet; else begin anew.
        quiet: no progress.
        page: Markdown file to write, with the figures beside it; None for none.
        command: what was typed, for the report.
        inventory: what there is, of the mode "hardware"; None for the others.
        cell: of the experiment's grid; the experiment as it stands when empty.
    """

    __test__ = False  # no test, for pytest

    experiment: Path
    out: Path
    seeds: int | None = None
    policies: tuple[str, ...] = ()
    traces: Path | None = None
    overrides: tuple[str, ...] = ()
    mode: str = Portable.mode
    resume: bool = False
    quiet: bool = False
    page: Path | None = None
    command: str = ""
    inventory: Inventory | None = None
    cell: Cell = field(default_factory=dict)

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
    await asyncio.to_thread(_clear, console)
    if settings.mode == Netns.mode:
        await asyncio.to_thread(require_netns)
    settings.out.mkdir(parents=True, exist_ok=True)
    ids = settings.inventory.ids if settings.inventory is not None else None
    plan = Plan(planned(settings), ids)
    if ids is not None and plan.testbed.events:
        raise ConfigurationError(
            "what breaks (testbed.events) is broken by processes of this machine: play it in another "
            "mode than hardware, or leave it out"
        )
    kept = _kept(settings, plan)
    missing = [seed for seed in plan.seeds if seed not in kept]
    async with Children(settings.out / "logs") as children:
        weights = await _weights(settings, plan, children, console)
        plan = _made(plan, weights, str(settings.out.resolve() / "network" / "shown"))
        async with _enlisted(settings, plan, console) as found:
            profile = await _profile(settings, plan, weights, children, console)
            plan = _measured(plan, profile)
            if found is not None:
                require_alike(plan, found.present, found.inventory, read_profile(profile))
            checked = await _check_links(settings, plan, console)
            predicted = await asyncio.to_thread(_predict, settings, plan, profile, found, console)
            try:
                await _play(settings, plan, profile, missing, found, console)
            except asyncio.CancelledError:
                console.print("testbed: interrupted; what was played is kept: go on with --resume")
                raise
    repetitions = [read(path_of(settings.out, seed)) for seed in plan.seeds]
    report = summarise(plan, repetitions, _provenance(settings, plan, repetitions, found))
    report["predicted"] = predicted
    report["links"] = checked
    _write(settings.out / "summary.json", json.dumps(report, indent=1) + "\n")
    await asyncio.to_thread(_report, settings, plan, report, repetitions, profile)
    return report


def planned(settings: TestbedSettings) -> spec.Experiment:
    """Return the experiment with all that was said about it.

    Raises:
        ConfigurationError: something in it cannot be.
    """
    return load(settings.experiment, overrides=settings.said, only=settings.policies, cell=settings.cell)


@asynccontextmanager
async def _enlisted(
    settings: TestbedSettings, plan: Plan, console: Console
) -> AsyncIterator[Enlisted | None]:
    """Have the devices that are there already; None where all are started here."""
    if settings.inventory is None:
        yield None
        return
    console.print(f"testbed: asking {', '.join(device.name for device in plan.devices)}")
    async with enlisted(plan, settings.inventory) as found:
        yield found


def _clear(console: Console) -> None:
    """Remove what a killed run has left on this machine."""
    ended = end_leftovers()
    if ended:
        console.print(f"testbed: ended {ended} processes that a killed run had left")
    try:
        left = remove_left()
    except ConfigurationError as error:
        console.print(f"testbed: {error}")  # in the way of nobody: names are never used twice
        return
    if left:
        console.print(f"testbed: removed what a killed run had left: {left}")


def _report(
    settings: TestbedSettings, plan: Plan, report: Report, repetitions: Sequence[Repetition], profile: Path
) -> None:
    """Tell people what came out."""
    from cans.testbed_report import write  # noqa: PLC0415 - matplotlib, not before there is something to draw
    from lab.testbed.report.markdown import write_page  # noqa: PLC0415 - as above

    write(plan, report, repetitions, read_profile(profile), settings.out / "report.html")
    if settings.page is not None:
        write_page(plan, report, repetitions, settings.page)


def _made(plan: Plan, weights: str, shown: str) -> Plan:
    """Return the plan with the files that were made for it."""
    source = shown if plan.testbed.source == TRAINED else plan.testbed.source
    testbed = msgspec.structs.replace(plan.testbed, model=plan.model, weights=weights, source=source)
    return Plan(msgspec.structs.replace(plan.experiment, testbed=testbed), plan.ids)


def _measured(plan: Plan, profile: Path) -> Plan:
    """Return the plan in a world whose network is what this machine has just measured."""
    world = msgspec.structs.replace(plan.world, network=str(profile))
    worlds = dict.fromkeys(plan.experiment.worlds, world)
    return Plan(msgspec.structs.replace(plan.experiment, world=world, worlds=worlds), plan.ids)


def _kept(settings: TestbedSettings, plan: Plan) -> set[int]:
    """Return the repetitions that need not be played again.

    Raises:
        ConfigurationError: the folder holds some, of this or of another experiment, and nobody said --resume.
    """
    there = {seed for seed in plan.seeds if path_of(settings.out, seed).exists()}
    any_there = any((settings.out / "rounds").glob("seed-*.json"))
    mark = settings.out / "experiment.json"
    said = json.dumps(
        {
            "experiment": settings.experiment.read_text(encoding="utf-8"),
            "said": list(settings.said),
            "mode": settings.mode,
            **({"inventory": settings.inventory.text} if settings.inventory is not None else {}),
            **({"cell": dict(settings.cell)} if settings.cell else {}),
        }
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


async def _weights(settings: TestbedSettings, plan: Plan, children: Children, console: Console) -> str:
    """Return the file of weights; empty for drawn ones."""
    if plan.testbed.weights != TRAINED:
        return plan.testbed.weights
    place = settings.out / "network"
    path = place / "weights.pth"
    if not path.exists():
        console.print("testbed: training a network on built-in photographs")
        # Nothing but its last layer: what the layers take does not depend on their weights.
        arguments = [
            "partition.training.photographs",
            str(place),
            "--epochs",
            "0",
            "--crops",
            "12",
            "--shown",
            "20",
        ]
        await children.run("network", arguments)
    return str(path)


async def _profile(
    settings: TestbedSettings, plan: Plan, weights: str, children: Children, console: Console
) -> Path:
    """Return a profile of this machine, measured once a folder, while it is quiet."""
    path = settings.out / "profile.json"
    if not path.exists():
        console.print("testbed: measuring this machine, leave it alone")
        more = ["--codecs", ",".join(plan.testbed.codecs)] if plan.testbed.codecs else []
        more += ["--weights", weights] if weights else []
        arguments = ["cans", "profile", plan.model, "--repeats", str(_PROFILE_ROUNDS), *more]
        await children.run("profile", [*arguments, "--out", str(path)])
    return path.resolve()


async def _check_links(settings: TestbedSettings, plan: Plan, console: Console) -> list[dict[str, Any]]:
    """Return what such links really do, measured once a folder; nothing where they are what they are."""
    lay = LAYS.get(settings.mode)
    if lay is None:
        return []
    path = settings.out / "links.json"
    if not path.exists():
        console.print("testbed: holding links against their setting")
        found = await check_links(lay, rates_of(plan))
        _write(path, json.dumps(msgspec.to_builtins(found), indent=1) + "\n")
    kept: list[dict[str, Any]] = json.loads(path.read_text())
    return kept


def _predict(
    settings: TestbedSettings, plan: Plan, profile: Path, found: Enlisted | None, console: Console
) -> dict[str, Any]:
    """Return what the simulator says will come out, before anything is played."""
    if plan.testbed.events:
        return {}  # the simulator knows nothing of what breaks: it would predict another experiment
    path = settings.out / "predicted" / "summary.json"
    more: tuple[str, ...] = ()
    if found is not None:
        slowness = slowness_of(plan, found.present, read_profile(profile))
        if slowness is None:
            console.print(
                "testbed: no prediction, for want of profiles: start each device with --profile, a file that "
                "cans profile has made there"
            )
            return {}
        more = (slowness,)
    if not path.exists():
        console.print("testbed: predicting by simulation")
        simulate(
            SimulateSettings(
                settings.experiment,
                settings.out / "predicted",
                policies=settings.policies,
                overrides=(*settings.said, *more, f"world.network={json.dumps(str(profile))}"),
                processes=os.cpu_count() or 1,
                quiet=settings.quiet,
                cell=settings.cell,
            )
        )
    predicted: dict[str, Any] = json.loads(path.read_text())["policies"]
    return predicted


async def _play(
    settings: TestbedSettings,
    plan: Plan,
    profile: Path,
    missing: Sequence[int],
    found: Enlisted | None,
    console: Console,
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
    # Devices that are there are there once.
    lanes = min(plan.testbed.lanes if found is None else 1, len(missing))
    with bar:
        total = plan.rounds * len(plan.policies) * len(missing)
        every = max(1, total // _TOLD)
        task = bar.add_task("starting", total=total)

        def tell(block: Block) -> None:
            said = f"{block.policy}, seed {block.seed}, round {block.round + 1}/{plan.rounds}"
            bar.update(task, advance=1, description=said)
            done = int(bar.tasks[0].completed)
            if not console.is_terminal and not settings.quiet and done % every == 0:
                console.print(f"testbed: {done} of {total} blocks, {said}")  # a log shows no bar

        await together(
            _lane(settings, plan, profile, lane, missing[lane::lanes], tell, found) for lane in range(lanes)
        )


async def _lane(
    settings: TestbedSettings,
    plan: Plan,
    profile: Path,
    lane: int,
    seeds: Sequence[int],
    tell: Callable[[Block], None],
    found: Enlisted | None,
) -> None:
    """Play some repetitions, one after the other, on a site of their own."""
    watched = plan.testbed.trend_after_s is not None
    logs = settings.out / "logs" / f"site-{lane + 1}"
    async with Children(logs) as children:
        ground = _ground(settings, plan, children)
        async with (
            running_site(plan, profile, children, ground) as site,
            _coordinator(plan, profile, site, ground, found) as coordinator,
        ):
            for seed in seeds:
                footprints = Footprints(samples_of(settings.out, seed), site.pids)
                playing = _played(coordinator, seed, tell, footprints if watched else None)
                write(await _watched(site, children, playing), settings.out)
                footprints.done()


def _ground(settings: TestbedSettings, plan: Plan, children: Children) -> Ground:
    if settings.inventory is not None:
        return Hardware(settings.inventory, plan, children)
    return Netns(plan, children) if settings.mode == Netns.mode else Portable(plan, children)


@asynccontextmanager
async def _coordinator(
    plan: Plan,
    profile: Path,
    site: Site,
    ground: Ground,
    found: Enlisted | None,
) -> AsyncIterator[Coordinator]:
    """Have a coordinator for a site: the one whom its devices know already, or a new one."""
    if found is not None:
        coordinator = found.coordinator
        coordinator.plan, coordinator.probes_devices = plan, True
        if Role.EDGE not in found.inventory.running:
            coordinator.edge_s = read_profile(profile).edge_s
        yield coordinator
        await coordinator.leave(stay=True)  # while the aggregator is there to take what they hand in
        return
    topics, mark = Topics(ground.prefix), new_mark()
    async with open_connection(site.broker, endpoint_of(topics, mark)) as connection:
        coordinator = Coordinator(plan, connection, topics, site.links, lambda *_: None, mark)
        coordinator.events = SiteEvents(site)
        async with listening(coordinator):
            yield coordinator
            await coordinator.leave()


async def _played(
    coordinator: Coordinator, seed: int, tell: Callable[[Block], None], footprints: Footprints | None
) -> Repetition:
    """Play a repetition; after each block say so, and take a sample of the site."""

    def told(block: Block, turns: Sequence[Turn]) -> None:
        tell(block)
        if footprints is not None:
            footprints.take(block, turns)

    coordinator.tell = told
    repetition = await coordinator.repetition(seed)
    return msgspec.structs.replace(repetition, samples=footprints.samples if footprints else [])


async def _watched(site: Site, children: Children, playing: Coroutine[Any, Any, Repetition]) -> Repetition:
    """Play a repetition; a process that dies meanwhile ends it with its last words."""
    if not site.processes:
        return await playing
    repetition = asyncio.create_task(playing, name="repetition")
    died = asyncio.create_task(children.watch(site.processes), name="watch")
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


def _provenance(
    settings: TestbedSettings, plan: Plan, repetitions: Sequence[Repetition], found: Enlisted | None
) -> dict[str, Any]:
    experiment = plan.experiment
    emulated = GROUNDS[settings.mode].emulated if found is None else emulated_by(found.present)
    machines = {name: said.machine for name, said in found.present.items()} if found is not None else {}
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
        "mode": settings.mode,
        "emulated": emulated,
        "machines": machines,
        "lanes": plan.testbed.lanes if found is None else 1,
        "estimated": ESTIMATES,
        "machine": platform.platform(),
        "processors": os.cpu_count(),
        "devices": {name: joined.label for each in repetitions[:1] for name, joined in each.joined.items()},
        "seconds": [round(each.took_s, 1) for each in repetitions],
        "command": settings.command,
        "commit": commit_of(Path(__file__).parent),
        "versions": versions(),
    }


__all__ = ["TestbedError", "TestbedSettings", "run_testbed"]
