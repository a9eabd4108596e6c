"""The figure of a long run: what processes hold, and latency beneath it."""

from itertools import cycle
from typing import Any

from matplotlib.figure import Figure

from lab.testbed.report.trend import Steadiness

_HOUR_S = 3600.0


def draw_trend(found: Steadiness, colours: tuple[str, ...], dashes: tuple[Any, ...], ink: str) -> Figure:
    """Return memory of each process over hours, and p50 and p95 of latency by stretch."""
    figure = Figure(figsize=(9.0, 5.0), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for axes, courses, unit in (
        (above, found.memory, "resident memory, MiB"),
        (below, found.latency, "latency, ms"),
    ):
        for course, colour, dash in zip(courses, cycle(colours), cycle(dashes), strict=False):
            axes.plot(course.at_s / _HOUR_S, course.value, color=colour, linestyle=dash, label=course.name)
        axes.axvline(found.settled_s / _HOUR_S, color=ink, linewidth=0.8, linestyle=":")
        axes.set_ylabel(unit)
        axes.set_ylim(bottom=0.0)
        axes.grid(visible=True)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    below.set_xlabel("hours since the repetition began")
    return figure
