"""The map of wins and losses: a square a cell, blue where `default` is faster, orange where it is slower."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes as Panel
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lab.grid.outcome import Names, Outcome, columns_of, rows_of
from lab.simulator.report import LIMIT
from lab.testbed.report.figures import Drawn, style
from lab.testbed.report.ratios import Ratio
from lab.testbed.report.tables import OURS, RIVAL

# Told apart by everybody; all of it light enough for dark numbers, by day and by night.
_COLOURS = LinearSegmentedColormap.from_list("wins and losses", ["#56b4e9", "#f7f7f7", "#f0a030"])
_DARK = "#1b1f24"
_STRONGEST = math.log(1.25)
"""From so many times as slow or as fast on colours grow no stronger; numbers go on."""
_PANELS: tuple[tuple[str, Callable[[Outcome], Ratio | None]], ...] = (
    ("against the best simple policy", lambda one: one.simple),
    (f"against {RIVAL}", lambda one: one.rival),
)


def draw(axes: Names, outcomes: Sequence[Outcome]) -> Drawn:
    """Return the map.

    Args:
        axes: of the grid; the last goes across.
        outcomes: of at least one cell.
    """
    rows, columns = rows_of(axes, outcomes), columns_of(axes)
    with style():
        figure = Figure(figsize=(9.0, 1.3 + 0.27 * len(rows)), layout="constrained")
        panels = figure.subplots(1, len(_PANELS), sharey=True, squeeze=False)[0]
        for panel, (title, pick) in zip(panels, _PANELS, strict=True):
            _colour(panel, [[row.get(column) for column in columns] for row in rows.values()], pick)
            panel.set_title(title, fontsize=9)
            panel.set_xticks(range(len(columns)), columns)
            panel.set_xlabel(list(axes)[-1])
        panels[0].set_yticks(range(len(rows)), list(rows))
    return Drawn(
        "map",
        f"Mean latency of {OURS} over that of others, in every cell",
        f"Blue is faster, orange slower, equally strong for a factor and its inverse; numbers are ratios. "
        f"Outlined and bold: slower beyond the 95 % interval, by more than {100.0 * (LIMIT - 1.0):g} % where "
        "the other is the best simple policy, picked with hindsight. A dash was not played.",
        figure,
    )


def _colour(
    panel: Panel, rows: Sequence[Sequence[Outcome | None]], pick: Callable[[Outcome], Ratio | None]
) -> None:
    values = np.full((len(rows), len(rows[0])), np.nan)
    for y, row in enumerate(rows):
        for x, one in enumerate(row):
            found = None if one is None else pick(one)
            text, lost = "-", False
            if one is not None and found is not None:
                values[y, x] = math.log(found.value)
                text, lost = f"{found.value:.3f}", _is_lost(one, found)
            panel.text(
                x,
                y,
                text,
                ha="center",
                va="center",
                fontsize=8,
                color=_DARK if text != "-" else None,
                fontweight="bold" if lost else "normal",
            )
            if lost:
                box = Rectangle((x - 0.46, y - 0.44), 0.92, 0.88, fill=False, edgecolor=_DARK, linewidth=1.6)
                panel.add_patch(box)
    edges = (np.arange(size + 1) - 0.5 for size in values.shape[::-1])
    panel.pcolormesh(*edges, values, cmap=_COLOURS, norm=Normalize(-_STRONGEST, _STRONGEST))
    panel.set_ylim(len(rows) - 0.5, -0.5)  # the first row is the uppermost
    panel.tick_params(length=0.0)


def _is_lost(one: Outcome, found: Ratio) -> bool:
    """Whether a cell is one: as its verdict says, and against others than the simple one by the interval."""
    if found is one.simple:
        return one.verdict == "loss"
    return found.verdict == "slower"
