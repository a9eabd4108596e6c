"""Plays an experiment for real: a whole site as processes of this machine, block by block, then sums up.

Composition only: `lab/testbed/` knows what to play and what it means; this starts and ends what it takes.
"""

import asyncio
import json
import os
import platform
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from bus.errors import ConfigurationError
from cans.pages import write_whole
from cans.site_processes import Children, end_leftovers
from cans.testbed.ground import Portable
from cans.testbed.hardware import Enlisted, Hardware, emulated_by, enlisted, require_alike
from cans.testbed.netns import Netns, remove_left, require_netns
from cans.testbed.playing import play
from cans.testbed.preparation import (
    TRAINED,
    batches_tried,
    links_tried,
    predict,
    profile_of,
    quotas_tried,
    weights_of,
)
from cans.testbed.settings import TestbedSettings, kept, planned
from cans.versions import commit_of, versions
from lab.network_table import load_table
from lab.simulator import spec
from lab.simulator.jobs import world_fingerprint
from lab.simulator.slowness import with_slowness
from lab.simulator.summary import Report
from lab.testbed.coordinator import Repetition, TestbedError, path_of, read
from lab.testbed.plan import Plan
from lab.testbed.results import ESTIMATES, summarise
from partition.profiles.profile_file import read_profile

GROUNDS: dict[str, type[Portable] | type[Netns] | type[Hardware]] = {
    each.mode: each for each in (Portable, Netns, Hardware)
}


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
    there = kept(settings, plan)
    missing = [seed for seed in plan.seeds if seed not in there]
    async with Children(settings.out / "logs") as children:
        weights = await weights_of(settings, plan, children, console)
        plan = _made(plan, weights, str(settings.out.resolve() / "network" / "shown"))
        async with _enlisted(settings, plan, console) as found:
            profile = await profile_of(settings, plan, weights, children, console)
            batches = await batches_tried(settings, plan, weights, children, console)
            plan = _measured(plan, profile, batches)
            if found is not None:
                require_alike(plan, found.present, found.inventory, read_profile(profile))
            checked = await links_tried(settings, plan, console)
            quotas = await quotas_tried(settings, plan, children, console)
            predicted = await asyncio.to_thread(predict, settings, plan, profile, found, console)
            try:
                await play(settings, plan, profile, missing, found, quotas, console)
            except asyncio.CancelledError:
                console.print("testbed: interrupted; what was played is kept: go on with --resume")
                raise
    repetitions = [read(path_of(settings.out, seed)) for seed in plan.seeds]
    report = summarise(plan, repetitions, _provenance(settings, plan, repetitions, found))
    report["predicted"] = predicted
    report["links"] = checked
    report["quotas"] = msgspec.to_builtins(quotas)
    write_whole(settings.out / "summary.json", json.dumps(report, indent=1) + "\n")
    await asyncio.to_thread(_report, settings, plan, report, repetitions, profile)
    return report


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
    from cans.testbed.report import write as write_report  # noqa: PLC0415 - matplotlib, not before there is something to draw
    from lab.testbed.report.markdown import write_page  # noqa: PLC0415 - as above

    write_report(plan, report, repetitions, read_profile(profile), settings.out / "report.html")
    if settings.page is not None:
        write_page(plan, report, repetitions, settings.page)


def _made(plan: Plan, weights: str, shown: str) -> Plan:
    """Return the plan with the files that were made for it."""
    source = shown if plan.testbed.source == TRAINED else plan.testbed.source
    testbed = msgspec.structs.replace(plan.testbed, model=plan.model, weights=weights, source=source)
    return Plan(msgspec.structs.replace(plan.experiment, testbed=testbed), plan.ids)


def _measured(plan: Plan, profile: Path, batches: tuple[spec.EdgeBatch, ...]) -> Plan:
    """Return the plan in a world whose network is what this machine has just measured."""
    table = load_table(str(profile))
    network = msgspec.structs.replace(
        plan.world,
        network=str(profile),
        edge_batches=batches,
        edge_largest_batch=plan.testbed.largest_batch,
    )
    world = with_slowness(network, table)
    worlds = dict.fromkeys(plan.experiment.worlds, world)
    return Plan(msgspec.structs.replace(plan.experiment, world=world, worlds=worlds), plan.ids)


def _provenance(
    settings: TestbedSettings, plan: Plan, repetitions: Sequence[Repetition], found: Enlisted | None
) -> dict[str, Any]:
    experiment = plan.experiment
    emulated = GROUNDS[settings.mode].emulated if found is None else emulated_by(found.present)
    if found is None and plan.world.edge_slowness != 1.0:
        emulated += "; the edge worker's computing is stretched by sleeping"
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
