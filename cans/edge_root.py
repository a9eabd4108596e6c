"""Composition root of `cans edge`: the role, and an emulated slowness if asked for."""

import asyncio
from pathlib import Path

from bus.errors import ConfigurationError
from edge.runtime import run_edge
from edge.settings import EdgeSettings
from edge.tails import load_tails
from lab.emulated_edge import StretchedTails, require_emulated
from partition.profiles.profile_file import read_profile


async def run_edge_as(settings: EdgeSettings, slowness: float, emulate: Path | None = None) -> None:
    """Run an edge worker until cancelled.

    Args:
        settings: what it is.
        slowness: how many times slower than this machine it is to be; 1 for the machine as it is.
        emulate: profile of this machine, whose times are stretched; None for what tails take at their best.

    Raises:
        ConfigurationError: as `run_edge`; a slowness that cannot be emulated.
    """
    if slowness == 1.0:
        await run_edge(settings)
        return
    require_emulated(slowness)
    if settings.models_dir is not None:
        raise ConfigurationError("--slowness emulates named models alone: leave --models-dir out")
    if settings.device != "cpu" or settings.threads not in {None, 1}:
        raise ConfigurationError(
            "--slowness needs tails that compute in one thread: --device cpu, --threads 1"
        )
    usual_s = {} if emulate is None else _usual_s(emulate)
    tails = await asyncio.to_thread(load_tails, settings)
    await run_edge(settings, compute=StretchedTails(tails, slowness, usual_s))


def _usual_s(path: Path) -> dict[tuple[int, str], float]:
    """Return what a frame of each arm takes an edge worker, by cut and codec."""
    profile = read_profile(path)
    places = [arm.label.partition("/") for arm in profile.arms]
    return {
        (int(cut), codec): seconds
        for (cut, _, codec), seconds in zip(places, profile.edge_s, strict=True)
        if cut.isdigit()
    }
