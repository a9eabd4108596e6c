"""A testbed's repetitions, played: sites beside each other, each with a coordinator that is watched."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bus.mqtt import open_connection
from bus.topics import Role, Topics
from cans.site_processes import Children
from cans.testbed.events import SiteEvents
from cans.testbed.ground import Ground, Portable
from cans.testbed.hardware import Enlisted, Hardware
from cans.testbed.netns import Netns
from cans.testbed.settings import TestbedSettings
from cans.testbed.site import Site, running_site
from lab.namespaces.quota_check import QuotaChecked
from lab.testbed.coordinator import Coordinator, Repetition, Turn, endpoint_of, listening, write
from lab.testbed.footprint import Footprints
from lab.testbed.footprint import path_of as samples_of
from lab.testbed.orders import new_mark
from lab.testbed.plan import Block, Plan
from lab.testbed.together import together
from partition.profiles.profile_file import read_profile

# Lines of progress in a log.
_TOLD = 20


async def play(
    settings: TestbedSettings,
    plan: Plan,
    profile: Path,
    missing: Sequence[int],
    found: Enlisted | None,
    quotas: Mapping[str, QuotaChecked],
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
            _lane(settings, plan, profile, lane, missing[lane::lanes], tell, found, quotas)
            for lane in range(lanes)
        )


async def _lane(
    settings: TestbedSettings,
    plan: Plan,
    profile: Path,
    lane: int,
    seeds: Sequence[int],
    tell: Callable[[Block], None],
    found: Enlisted | None,
    quotas: Mapping[str, QuotaChecked],
) -> None:
    """Play some repetitions, one after the other, on a site of their own."""
    watched = plan.testbed.trend_after_s is not None
    logs = settings.out / "logs" / f"site-{lane + 1}"
    async with Children(logs) as children:
        ground = _ground(settings, plan, children, quotas)
        async with (
            running_site(plan, profile, children, ground) as site,
            _coordinator(plan, profile, site, ground, found) as coordinator,
        ):
            for seed in seeds:
                footprints = Footprints(samples_of(settings.out, seed), site.pids)
                playing = _played(coordinator, seed, tell, footprints if watched else None)
                write(await _watched(site, children, playing), settings.out)
                footprints.done()


def _ground(
    settings: TestbedSettings, plan: Plan, children: Children, quotas: Mapping[str, QuotaChecked]
) -> Ground:
    if settings.inventory is not None:
        return Hardware(settings.inventory, plan, children)
    if settings.mode == Netns.mode:
        return Netns(plan, children, {name: found.slowness for name, found in quotas.items()})
    return Portable(plan, children)


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
        coordinator.edge_s = tuple(plan.world.edge_slowness * each for each in read_profile(profile).edge_s)
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
