"""Pictures of an experiment: regret as it grows, and latency by policy."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lab.simulator import spec
from lab.simulator.jobs import Job, read
from lab.simulator.summary import Report, devices_in

_POINTS = 300  # of a curve
_SUFFIXES = (".svg", ".png")


def draw(experiment: spec.Experiment, jobs: Sequence[Job], report: Report, out: Path) -> list[Path]:
    """Write the figures, each as SVG and PNG, and return their paths."""
    # SVG without the moment and a random salt: the same runs give the same bytes.
    with mpl.rc_context({"svg.hashsalt": "cans", "font.size": 9}):
        written = _save(_regret(experiment, jobs), out / "regret")
        if any(isinstance(world, spec.Site) for world in experiment.worlds.values()):
            written += _save(_latency(experiment, report), out / "latency")
    return written


def _regret(experiment: spec.Experiment, jobs: Sequence[Job]) -> Figure:
    """Mean over seeds, and the band that half of the seeds lie in."""
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.subplots()
    in_seconds = True
    sizes = {policy: devices_in(world) for policy, world in experiment.worlds.items()}
    for policy, world in experiment.worlds.items():
        in_seconds = isinstance(world, spec.Site)
        # Teams of several sizes in seconds are compared by what one device loses.
        devices = sizes[policy] if in_seconds and len(set(sizes.values())) > 1 else 1
        curves = np.stack([_grown(read(job).regret) / devices for job in jobs if job.policy == policy])
        rounds = np.linspace(0.0, 1.0, curves.shape[1])
        line = axes.plot(rounds, curves.mean(axis=0), label=policy)[0]
        low, high = np.quantile(curves, [0.25, 0.75], axis=0)
        axes.fill_between(rounds, low, high, alpha=0.15, color=line.get_color())
    axes.set_xlabel("share of all rounds")
    of_whom = "all devices" if len(set(sizes.values())) == 1 else "a device"
    axes.set_ylabel(f"regret of {of_whom}, s" if in_seconds else "regret")
    axes.legend(fontsize=8 if len(sizes) < 20 else 5)
    _finish(axes, f"{experiment.title} (simulated, {experiment.seeds} seeds)")
    return figure


def _latency(experiment: spec.Experiment, report: Report) -> Figure:
    """Mean with its interval, and p95, by policy, best first."""
    shown = {name: row for name, row in report["policies"].items() if "mean_ms" in row}
    names = sorted(shown, key=lambda name: shown[name]["mean_ms"]["mean"])
    figure = Figure(figsize=(7.0, 0.9 + 0.32 * len(names)), layout="constrained")
    axes = figure.subplots()
    means = [shown[name]["mean_ms"] for name in names]
    half = [0.0 if mean["ci95"] is None else mean["ci95"][1] - mean["mean"] for mean in means]
    axes.barh(names, [mean["mean"] for mean in means], xerr=half, color="#4477aa", capsize=2, label="mean")
    axes.plot([shown[name]["p95_ms"]["mean"] for name in names], names, "k|", markersize=9, label="p95")
    axes.invert_yaxis()
    axes.set_xlabel("capture to answer, ms")
    axes.legend(fontsize=8)
    _finish(axes, f"{experiment.title} (simulated, {experiment.seeds} seeds)")
    return figure


def _grown(regret: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Cumulative regret at `_POINTS` places."""
    total = np.cumsum(regret)
    curve: npt.NDArray[np.float64] = total[np.linspace(0, total.size - 1, _POINTS).astype(int)]
    return curve


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title)
    axes.grid(alpha=0.3)


def _save(figure: Figure, path: Path) -> list[Path]:
    written = []
    for suffix in _SUFFIXES:
        target = path.with_suffix(suffix)
        figure.savefig(target, dpi=130, metadata={"Date": None} if suffix == ".svg" else None)
        written.append(target)
    return written
