"""What comes before a testbed plays, once a folder: network, profile, links tried, prediction."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from cans.pages import write_whole
from cans.simulate import SimulateSettings, simulate
from cans.site_processes import Children
from cans.testbed.ground import Portable
from cans.testbed.hardware import Enlisted
from cans.testbed.hardware_prediction import slowness_of
from cans.testbed.netns import Netns
from cans.testbed.settings import TestbedSettings
from lab.namespaces.quota_check import QuotaChecked
from lab.network_table import load_table
from lab.shaping import Lay, by_kernel, by_proxy
from lab.simulator.spec import EdgeBatch
from lab.testbed.links_check import check_links, rates_of
from lab.testbed.plan import Plan
from partition.profiles.profile_file import read_profile

TRAINED = "photographs"
"""Weights, and frames, that are made for the purpose."""
_PROFILE_ROUNDS = 40
LAYS: dict[str, Lay] = {Portable.mode: by_proxy, Netns.mode: by_kernel}
"""How the links of a mode are laid, to be tried by themselves."""


async def weights_of(settings: TestbedSettings, plan: Plan, children: Children, console: Console) -> str:
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


async def profile_of(
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


async def batches_tried(
    settings: TestbedSettings, plan: Plan, weights: str, children: Children, console: Console
) -> tuple[EdgeBatch, ...]:
    """Return which tails take several frames here, measured once a folder.

    Nothing where the simulated edge worker makes nobody wait, runs frames one by one, or is another machine.
    """
    testbed = plan.testbed
    if not plan.world.edge_workers or testbed.largest_batch == 1 or settings.inventory is not None:
        return ()
    path = settings.out / "batches.json"
    if not path.exists():
        console.print("testbed: trying how many frames the edge worker runs together")
        more = ["--codecs", ",".join(testbed.codecs)] if testbed.codecs else []
        more += ["--weights", weights] if weights else []
        arguments = ["lab.batch_costs", plan.model, "--largest", str(testbed.largest_batch), *more]
        await children.run("batches", [*arguments, "--out", str(path)])
    return msgspec.json.decode(path.read_bytes(), type=tuple[EdgeBatch, ...])


async def links_tried(settings: TestbedSettings, plan: Plan, console: Console) -> list[dict[str, Any]]:
    """Return what such links really do, measured once a folder; nothing where they are what they are."""
    lay = LAYS.get(settings.mode)
    if lay is None:
        return []
    path = settings.out / "links.json"
    if not path.exists():
        console.print("testbed: holding links against their setting")
        trying = check_links(lay, rates_of(plan))
        # A loop of asyncio's own for netns: pyroute2's netlink sockets are none that uvloop can open.
        found = await (asyncio.to_thread(asyncio.run, trying) if settings.mode == Netns.mode else trying)
        write_whole(path, json.dumps(msgspec.to_builtins(found), indent=1) + "\n")
    kept: list[dict[str, Any]] = json.loads(path.read_text())
    return kept


async def quotas_tried(
    settings: TestbedSettings, plan: Plan, children: Children, console: Console
) -> dict[str, QuotaChecked]:
    """Return the CPU quota of each device type, tried once a folder; nothing where there are none."""
    if settings.mode != Netns.mode:
        return {}
    path = settings.out / "quotas.json"
    if not path.exists():
        console.print("testbed: trying CPU quotas")
        whole_ms = load_table(str(plan.world.network)).head_ms[-1]
        types = {kind.name: kind.slowness for kind in plan.world.types}
        said = [f"{name}={slowness}={slowness * whole_ms}" for name, slowness in types.items()]
        arguments = ["lab.namespaces.calibration", plan.model, "--out", str(path)]
        await children.run("quotas", [*arguments, *(f"--type={each}" for each in said)])
    return msgspec.json.decode(path.read_bytes(), type=dict[str, QuotaChecked])


def predict(
    settings: TestbedSettings, plan: Plan, profile: Path, found: Enlisted | None, console: Console
) -> dict[str, Any]:
    """Return what the simulator says will come out, before anything is played."""
    if plan.testbed.events:
        return {}  # the simulator knows nothing of what breaks: it would predict another experiment
    path = settings.out / "predicted" / "summary.json"
    world = plan.world
    batches = ", ".join(f"{{cut = {each.cut}, fixed = {each.fixed}}}" for each in world.edge_batches)
    more: tuple[str, ...] = (
        f"world.edge_batches=[{batches}]",
        f"world.edge_largest_batch={world.edge_largest_batch}",
    )
    if found is not None:
        slowness = slowness_of(plan, found.present, read_profile(profile))
        if slowness is None:
            console.print(
                "testbed: no prediction, for want of profiles: start each device with --profile, a file that "
                "cans profile has made there"
            )
            return {}
        more += (slowness,)
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
