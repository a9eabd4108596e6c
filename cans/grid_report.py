"""What a grid leaves behind, simulated or played: `summary.json`, `report.html`, the map, and a page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from cans.pages import environment, write_whole
from cans.testbed.report import as_figure
from lab.grid.map_figure import draw
from lab.grid.markdown import write_page
from lab.grid.outcome import (
    Names,
    Outcome,
    columns_of,
    in_short,
    outcome_of,
    report_of,
    rows_of,
    said_of,
    words_of,
)
from lab.simulator import spec
from lab.simulator.grid import Cell, folder_of
from lab.simulator.summary import Report
from lab.testbed.report.tables import OURS, RIVAL

_TEMPLATE = "grid_report.html.jinja"
_OF_ONE_CELL = ("worlds", "engines", "devices", "seconds")
"""Of a cell's provenance, what is not the grid's."""


@dataclass(frozen=True, slots=True)
class PlayedCell:
    """One cell, played: which it is, the experiment as it is there, and its `summary.json`."""

    cell: Cell
    experiment: spec.Experiment
    report: Report


def write_grid(
    axes: Names, cells: Sequence[PlayedCell], out: Path, page: Path | None, command: str
) -> Report:
    """Write what all cells come to; returns the content of the grid's `summary.json`.

    Args:
        axes: of the grid.
        cells: at least one.
        out: folder of the results.
        page: Markdown file to write too, None for none.
        command: what reproduces it.

    Raises:
        ConfigurationError: the page cannot be written.
    """
    outcomes = [outcome_of(each.cell, each.experiment, each.report) for each in cells]
    experiment = cells[0].experiment
    provenance = _provenance(cells[0].report["provenance"], len(cells), command)
    report = report_of(axes, outcomes, {folder_of(each.cell): each.report for each in cells}, provenance)
    write_whole(out / "summary.json", json.dumps(report, indent=1) + "\n")
    drawn = draw(axes, outcomes)
    drawn.png(out / "map.png")
    write_whole(
        out / "report.html",
        environment(words=words_of, ratio=said_of)
        .get_template(_TEMPLATE)
        .render(
            experiment=experiment,
            axes=axes,
            outcomes=outcomes,
            provenance=provenance,
            sentence=_plain(in_short(outcomes)),
            figure=as_figure(drawn),
            ours=OURS,
            rival=RIVAL,
        ),
    )
    if page is not None:
        write_page(experiment, axes, outcomes, provenance, page)
    return report


def table_of(cells: Sequence[PlayedCell]) -> Table:
    """Return the ratios to the best simple policy, for people; at least one cell."""
    axes = {axis: dict.fromkeys(each.cell[axis] for each in cells) for axis in cells[0].cell}
    outcomes = [outcome_of(each.cell, each.experiment, each.report) for each in cells]
    table = Table(
        title=f"{cells[0].experiment.title}: {OURS} over the best simple policy",
        caption=_plain(in_short(outcomes)),
    )
    table.add_column(", ".join(list(axes)[:-1]))
    for column in columns_of(axes):
        table.add_column(column, justify="right", no_wrap=True)
    for label, row in rows_of(axes, outcomes).items():
        table.add_row(label, *(_cell(row.get(column)) for column in columns_of(axes)))
    return table


def _provenance(one: Mapping[str, Any], cells: int, command: str) -> dict[str, Any]:
    kept = {key: value for key, value in one.items() if key not in _OF_ONE_CELL}
    return {**kept, "cells": cells, "command": command}


def _cell(one: Outcome | None) -> str:
    if one is None or one.simple is None:
        return "-"
    said = f"{one.simple.value:.3f}"
    return f"[bold]{said} ![/bold]" if one.verdict == "loss" else said


def _plain(said: str) -> str:
    return said.replace("**", "").replace("`", "")
