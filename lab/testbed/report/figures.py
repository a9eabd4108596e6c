"""The figures of a report, by matplotlib: as SVG for a page of any colour, or as PNG."""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from lab.simulator.summary import Report
from lab.testbed.coordinator import Repetition
from lab.testbed.plan import Plan
from lab.testbed.report import series
from lab.testbed.report.disturbance import disturbance_of
from lab.testbed.report.tables import Named, named
from lab.testbed.report.trend import latency_over, steadiness_of
from lab.testbed.report.trend_figure import draw_trend

COLOURS = ("#0072b2", "#b35a00", "#0b6b3a", "#a3202c", "#7b3fa0", "#5a5a00")
"""Of policies, 4.5 : 1 on white; a page replaces them by night, see `svg`."""
_DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
_INK = "#767676"
_DEVICES_DRAWN = 2
_ARMS_DRAWN = 4


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure.

    Attributes:
        name: for files. title: for people. says: what is to be seen, for those who cannot see it.
    """

    name: str
    title: str
    says: str
    figure: Figure

    def svg(self) -> str:
        """Return it for an HTML page: its colours are the page's `--c0` ... `--c5`, its ink is the text's."""
        written = io.BytesIO()
        with style():
            self.figure.savefig(written, format="svg", metadata={"Date": None})
        text = written.getvalue().decode()
        text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
        # Several on a page: what they define must not be called alike, nor may their style be the page's.
        for mark in (' id="', "url(#", 'xlink:href="#'):
            text = text.replace(mark, f"{mark}{self.name}-")
        text = text.replace("*{", ".drawn *{").replace(_INK, "currentColor")
        for number, colour in enumerate(COLOURS):
            text = text.replace(colour, f"var(--c{number})")
        return text

    def png(self, path: Path) -> None:
        """Write it as a picture on white."""
        with style():
            self.figure.savefig(path, format="png", dpi=130, facecolor="white")


def draw(plan: Plan, report: Report, repetitions: Sequence[Repetition]) -> list[Drawn]:
    """Return the figures; there is at least one repetition."""
    policies = series.drawn(plan, report)
    with style():
        return [
            _over_time(plan, repetitions[0], policies, shaped=not report["provenance"].get("machines")),
            _learning(repetitions, policies),
            _arms(plan, repetitions, policies),
            _distributions(repetitions, policies),
            _bars(plan, report),
            _disturbance(plan, repetitions),
            *_trend(plan, repetitions),
        ]


@contextmanager
def style() -> Iterator[None]:
    """Let figures be drawn as all of a report's are; their ink becomes that of the page (`Drawn.svg`)."""
    ink = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color")
    style: Any = {
        "svg.hashsalt": "cans",
        "svg.fonttype": "none",
        "font.size": 9,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "legend.frameon": False,
        "grid.alpha": 0.3,
        **dict.fromkeys(ink, _INK),
    }
    with mpl.rc_context(style):
        yield


def _look(policies: Sequence[Named]) -> Mapping[str, Mapping[str, Any]]:
    return {
        policy.name: {"color": COLOURS[number], "linestyle": _DASHES[number], "label": policy.label}
        for number, policy in enumerate(policies)
    }


def _milliseconds(axes: Axes, which: str) -> None:
    """Let an axis of latencies be logarithmic, and its numbers be numbers."""
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axis.set_major_formatter(plain)
    # A range within a decade has hardly a major tick.
    axis.set_minor_formatter(plain if high < 10.0 * low else NullFormatter())


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(3, len(labels)))


def _over_time(plan: Plan, repetition: Repetition, policies: Sequence[Named], *, shaped: bool) -> Drawn:
    """Latency of each frame on the first devices, above what their links carry, where that is known."""
    devices = plan.devices[:_DEVICES_DRAWN]
    figure = Figure(figsize=(9.0, 4.8 if shaped else 3.6), layout="constrained")
    heights = (3.0, 1.0) if shaped else (1.0,)
    axes = figure.subplots(
        len(heights), len(devices), sharex="col", sharey="row", squeeze=False, height_ratios=heights
    )
    traces, look = plan.traces(repetition.seed), _look(policies)
    for number, device in enumerate(devices):
        above, below = axes[0, number], axes[-1, number]
        for policy in policies:
            frames = series.frames_of(repetition, policy.name, device.name)
            above.plot(*series.thinned(frames.number, frames.ms), linewidth=1.2, **look[policy.name])
            if frames.lost.size:  # an empty one would be laid out in the middle of nowhere
                edge, colour = above.get_xaxis_transform(), look[policy.name]["color"]
                above.plot(frames.lost, np.full(frames.lost.size, 0.98), "x", color=colour, transform=edge)
        if shaped:
            below.plot(*series.rates(plan, traces[number], number), color=_INK, linewidth=1.2)
        below.set_xlabel("frame")
        below.xaxis.set_major_locator(MaxNLocator(integer=True))
        above.set_title(device.name, fontsize=9)
        for each in axes[:, number]:
            each.grid(visible=True)
    _milliseconds(axes[0, 0], "y")
    axes[0, 0].set_ylabel("capture to answer, ms")
    if shaped:
        axes[1, 0].set_ylim(bottom=0.0)  # of all: they share it
        axes[1, 0].set_ylabel("link, Mbit/s")
    _legend(figure, axes[0, 0])
    more = f"; {len(plan.devices) - len(devices)} more devices are not drawn" if len(plan.devices) > 2 else ""
    return Drawn(
        "over-time",
        f"Latency over time{', and the links beneath,' * shaped} in the first repetition "
        f"(seed {repetition.seed})",
        (
            "Every policy meets the same frames at the same place of the same link. The link is drawn where "
            "a frame is due at the earliest. "
            if shaped
            else "Every policy meets the same frames; how the links were, nobody has recorded. "
        )
        + f"A cross at the upper edge is a frame without an answer{more}.",
        figure,
    )


def _learning(repetitions: Sequence[Repetition], policies: Sequence[Named]) -> Drawn:
    """Latency by frame number, averaged over repetitions and devices."""
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    axes = figure.subplots()
    look = _look(policies)
    for policy in policies:
        axes.plot(*series.by_frame(repetitions, policy.name), linewidth=1.2, **look[policy.name])
    axes.set(xlabel="frame", ylabel="capture to answer, ms")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True)
    _milliseconds(axes, "y")
    _legend(figure, axes)
    how_many = len(repetitions)
    return Drawn(
        "learning",
        f"Latency by frame, mean over devices and {how_many} repetition{'s' * (how_many > 1)}",
        "What exploring costs at first, and what is left of it later.",
        figure,
    )


def _arms(plan: Plan, repetitions: Sequence[Repetition], policies: Sequence[Named]) -> Drawn:
    """What policies played as time went by: the larger a dot, the more often."""
    shown, devices = policies[:_ARMS_DRAWN], plan.devices[:_DEVICES_DRAWN]
    found = {
        (policy.name, device.name): series.choices(plan, repetitions, policy.name, device.name)
        for policy in shown
        for device in devices
    }
    arms = series.arms_in_order(repetitions, [arm for each in found.values() for arm in each.arm])
    height = 1.4 + 0.17 * max(4, len(arms)) * len(devices)
    figure = Figure(figsize=(9.0, height), layout="constrained")
    axes = figure.subplots(len(devices), len(shown), sharex=True, sharey=True, squeeze=False)
    for (policy_name, device_name), each in found.items():
        column = [policy.name for policy in shown].index(policy_name)
        row = [device.name for device in devices].index(device_name)
        one = axes[row, column]
        places = [arms.index(arm) for arm in each.arm]
        one.scatter(each.frame, places, s=[2.0 + 26.0 * share for share in each.share], color=COLOURS[column])
        one.grid(visible=True)
        one.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    for column, policy in enumerate(shown):
        axes[0, column].set_title(policy.label, fontsize=9)
        axes[-1, column].set_xlabel("frame")
    for row, device in enumerate(devices):
        axes[row, 0].set_ylabel(device.name)
        axes[row, 0].set_yticks(range(len(arms)), arms, fontsize=7)
    return Drawn(
        "arms",
        "Arms chosen over time, over all repetitions",
        "An arm is the cut and the codec; 0 sends the picture, end/none stays on the device. The larger a "
        "dot, the larger the share of frames that played it then.",
        figure,
    )


def _distributions(repetitions: Sequence[Repetition], policies: Sequence[Named]) -> Drawn:
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    axes = figure.subplots()
    look = _look(policies)
    for policy in policies:
        total_ms, share = series.distribution(repetitions, policy.name)
        axes.plot(total_ms, share, drawstyle="steps-post", linewidth=1.2, **look[policy.name])
    axes.set(xlabel="capture to answer, ms", ylabel="share of all frames", ylim=(0.0, 1.02))
    axes.grid(visible=True)
    _milliseconds(axes, "x")
    _legend(figure, axes)
    return Drawn(
        "distribution",
        "Distribution of latency, all devices and repetitions",
        "How many frames had their answer by then. A curve that ends below 1 has lost frames.",
        figure,
    )


def _bars(plan: Plan, report: Report) -> Drawn:
    """Mean with its interval, p95, and the prediction, by policy, best first."""
    shown = [each for each in named(plan, report) if "mean_ms" in report["policies"][each.name]]
    rows = report["policies"]
    shown.sort(key=lambda policy: float(rows[policy.name]["mean_ms"]["mean"]))
    figure = Figure(figsize=(9.0, 1.1 + 0.3 * len(shown)), layout="constrained")
    axes = figure.subplots()
    for place, policy in enumerate(shown):
        mean, ci95 = rows[policy.name]["mean_ms"]["mean"], rows[policy.name]["mean_ms"]["ci95"]
        played = policy.kind == "played"
        axes.barh(
            place,
            mean,
            height=0.7,
            color=COLOURS[0] if played else "none",
            edgecolor=COLOURS[0],
            linestyle="-" if played else "--",
        )
        if ci95 is not None:
            axes.plot(np.clip(ci95, 0.0, None), [place, place], color=COLOURS[1], linewidth=2.0)
    _marks(axes, [rows[each.name]["p95_ms"]["mean"] for each in shown], "|", "p95")
    predicted = report.get("predicted", {})
    if predicted:
        found = [predicted.get(each.name, {}).get("mean_ms", {}).get("mean", np.nan) for each in shown]
        _marks(axes, found, "d", "predicted mean")
    axes.set_yticks(range(len(shown)), [each.label for each in shown])
    axes.invert_yaxis()
    # An interval of few repetitions is wider than any figure.
    axes.set_xlim(0.0, 1.15 * max(rows[each.name]["p95_ms"]["mean"] for each in shown))
    axes.set_xlabel("capture to answer, ms")
    axes.grid(visible=True, axis="x")
    _legend(figure, axes)
    return Drawn(
        "means",
        "Mean latency by policy, least first",
        "Filled bars were played as policies; dashed ones are an arm of the sweep, or estimated from that "
        "sweep. The lines across their ends are 95 % intervals (Student's t over repetitions), where there "
        "are enough to have one; they may leave the figure.",
        figure,
    )


def _marks(axes: Axes, values: Sequence[float], marker: str, label: str) -> None:
    axes.plot(
        values,
        range(len(values)),
        marker,
        color=_INK,
        markersize=9 if marker == "|" else 5,
        markerfacecolor="none",
        label=label,
    )


def _disturbance(plan: Plan, repetitions: Sequence[Repetition]) -> Drawn:
    found = disturbance_of(plan, repetitions)
    figure = Figure(figsize=(9.0, 2.6), layout="constrained")
    axes = figure.subplots()
    kinds: tuple[tuple[str, str, str, Callable[[bool], bool]], ...] = (
        ("counts", "o", COLOURS[0], lambda counts: counts),
        ("played again", "x", COLOURS[3], lambda counts: not counts),
    )
    for label, marker, colour, chosen in kinds:
        points = [
            (number, 100.0 * block.slower)
            for number, block in enumerate(found.blocks)
            if chosen(block.counts)
        ]
        if points:
            axes.plot(*zip(*points, strict=True), marker, color=colour, markersize=3.5, label=label)
    axes.axhline(100.0 * found.limit, color=_INK, linestyle="--", linewidth=1.0, label="limit")
    axes.set(xlabel="block, in order of time", ylabel="slower than usual, %")
    axes.grid(visible=True)
    _legend(figure, axes)
    return Drawn(
        "disturbance",
        "How much slower the machine was beside each block",
        "A constant piece of work, timed before and after each block, against its median so far.",
        figure,
    )


def _trend(plan: Plan, repetitions: Sequence[Repetition]) -> Iterator[Drawn]:
    for found in steadiness_of(plan, repetitions)[:1]:
        yield Drawn(
            "trend",
            f"Memory of each process, and latency, over time (seed {found.seed})",
            f"Memory after each block; latency by {latency_over(found)}, of answered frames of all "
            "devices; load of the whole machine, where it was taken. Trends are taken right of the "
            "dotted line.",
            draw_trend(found, COLOURS, _DASHES, _INK),
        )
