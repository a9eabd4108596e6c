"""Composition root of `cans edge`: the role, and an emulated slowness if asked for."""

import asyncio

from bus.errors import ConfigurationError
from edge.runtime import run_edge
from edge.settings import EdgeSettings
from edge.tails import load_tails
from lab.emulated_edge import StretchedTails, require_emulated


async def run_edge_as(settings: EdgeSettings, slowness: float) -> None:
    """Run an edge worker until cancelled.

    Args:
        settings: what it is.
        slowness: how many times slower than this machine it is to be; 1 for the machine as it is.

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
    await run_edge(settings, compute=StretchedTails(await asyncio.to_thread(load_tails, settings), slowness))
