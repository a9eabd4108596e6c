"""The figure of a long run: what processes hold, and latency beneath it."""

from itertools import cycle
from typing import Any

from matplotlib.figure import Figure

from lab.testbed.report.trend import Steadiness

_HOUR_S = 3600.0


def draw_trend(found: Steadiness, colours: tuple[str, ...], dashes: tuple[Any, ...], ink: str) -> Figure:
    """Return memory of each process over hours, p50 and p95 of latency by stretch, and the machine's load."""
    rows = [(found.memory, "resident memory, MiB")]
    if found.latency:
        rows.append((found.latency, "latency, ms"))
    if found.load.value.size:
        rows.append(([found.load], "load, processes"))
    figure = Figure(figsize=(9.0, 2.5 * len(rows)), layout="constrained")
    each = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (courses, unit) in zip(each, rows, strict=True):
        for course, colour, dash in zip(courses, cycle(colours), cycle(dashes), strict=False):
            axes.plot(course.at_s / _HOUR_S, course.value, color=colour, linestyle=dash, label=course.name)
        axes.axvline(found.settled_s / _HOUR_S, color=ink, linewidth=0.8, linestyle=":")
        axes.set_ylabel(unit)
        axes.set_ylim(bottom=0.0)
        axes.grid(visible=True)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    each[-1].set_xlabel("hours since the repetition began")
    return figure
