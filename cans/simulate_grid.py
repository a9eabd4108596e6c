"""Plays the cells of an experiment's grid in virtual time: all runs together, then each cell by itself."""

from collections.abc import Sequence
from dataclasses import replace

from bus.errors import ConfigurationError
from cans.grid_report import PlayedCell, write_grid
from cans.simulate import SimulateSettings, command_of, prepared, run_missing, summed_up
from lab.simulator.experiment import axes_in
from lab.simulator.grid import chosen, folder_of


def simulate_grid(settings: SimulateSettings, patterns: Sequence[str]) -> list[PlayedCell]:
    """Play the cells that are wanted; runs that are there already are not played again.

    Args:
        settings: as of `simulate`, without a cell.
        patterns: of `--cells`; all cells when empty.

    Returns:
        What each cell came to, in their order; the sum of all is in the folder.

    Raises:
        ConfigurationError: something in the experiment, or in what was set, cannot be, no cell is of such a
            pattern, or a file cannot be written.
    """
    axes = axes_in(settings.experiment)
    each = [
        replace(settings, cell=cell, out=settings.out / "cells" / folder_of(cell))
        for cell in chosen(axes, patterns)
    ]
    try:
        made = [prepared(one) for one in each]
        run_missing([jobs for _, jobs in made], settings, made[0][0].engine)
        cells = [
            PlayedCell(one.cell, experiment, summed_up(experiment, jobs, one))
            for one, (experiment, jobs) in zip(each, made, strict=True)
        ]
        said = "".join(f' --cells "{pattern}"' for pattern in patterns)
        write_grid(axes, cells, settings.out, settings.page, command_of(settings) + said)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise ConfigurationError(f"cannot write the results{where}: {error.strerror or error}") from None
    return cells
