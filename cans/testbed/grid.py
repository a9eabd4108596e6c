"""Plays the cells of an experiment's grid for real, one after the other, each as a testbed of its own."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from bus.errors import ConfigurationError
from cans.grid_report import PlayedCell, write_grid
from cans.testbed.run import run_testbed
from cans.testbed.settings import TestbedSettings, planned
from lab.simulator import spec
from lab.simulator.experiment import axes_in
from lab.simulator.grid import chosen, folder_of, in_words


async def run_grid(settings: TestbedSettings, patterns: Sequence[str]) -> list[PlayedCell]:
    """Play the cells that are wanted; with `resume` those that are there already are not played again.

    Args:
        settings: as of `run_testbed`, without a cell.
        patterns: of `--cells`; all cells when empty.

    Returns:
        What each cell came to, in their order; the sum of all is in the folder.

    Raises:
        ConfigurationError: something in the experiment or on this machine cannot be.
        TestbedError: a device failed meanwhile.
    """
    axes = axes_in(settings.experiment)
    each = [
        replace(settings, cell=cell, out=settings.out / "cells" / folder_of(cell), page=None)
        for cell in chosen(axes, patterns)
    ]
    experiments = [_playable(one) for one in each]  # what cannot be is said before anything is played
    console, cells = Console(stderr=True), []
    for number, (one, experiment) in enumerate(zip(each, experiments, strict=True), start=1):
        console.print(f"testbed: cell {number} of {len(each)}, {in_words(one.cell)}", highlight=False)
        cells.append(PlayedCell(one.cell, experiment, await run_testbed(one)))
    await asyncio.to_thread(write_grid, axes, cells, settings.out, settings.page, settings.command)
    return cells


def _playable(settings: TestbedSettings) -> spec.Experiment:
    """Return the experiment of a cell; a testbed that left changes out would show what nobody asked for."""
    experiment = planned(settings)
    if isinstance(experiment.world, spec.Site) and experiment.world.changes:
        raise ConfigurationError(
            f"the cell {in_words(settings.cell)} has world.changes, which only the simulator plays: leave it "
            "out with --cells"
        )
    return experiment
