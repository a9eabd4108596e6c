"""The demo's one figure: latency over frames, and its distribution, for each type."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

from cans.demo.plan import LEARNER, RIVALS, DemoSettings
from cans.demo.report import Summary

# No window, ever: the demo also runs where there is no screen.
mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

_WINDOW = 10
# Okabe and Ito's colours, told apart by everybody.
_COLOURS = dict(zip((LEARNER, *RIVALS), ("#D55E00", "#0072B2", "#999999", "#009E73", "#CC79A7"), strict=True))


def draw(
    settings: DemoSettings, summaries: Mapping[str, Summary], report: Mapping[str, Any], path: Path
) -> None:
    """Write the figure as a PNG."""
    rows = len(settings.types)
    figure, axes = plt.subplots(rows, 2, figsize=(11, 3.6 * rows), squeeze=False, layout="constrained")
    for kind, (over_time, distribution) in zip(settings.types, axes, strict=True):
        for policy, colour in _COLOURS.items():
            label = "learned" if policy == LEARNER else policy
            runs = [summaries[device]["policies"][policy]["total_ms"] for device in kind.devices]
            smooth = _smooth(runs)
            over_time.plot(np.arange(len(smooth)) + _offset(runs), smooth, color=colour, label=label)
            samples = np.sort(np.concatenate([np.asarray(run) for run in runs]))
            distribution.step(
                samples, np.arange(1, len(samples) + 1) / len(samples), color=colour, label=label
            )
        link = kind.link
        over_time.set_title(
            f"{kind.name}: {kind.slowness:g}x slower, {link.up_mbit:g} Mbit/s, "
            f"{link.delay_ms:g} ms (emulated)"
        )
        over_time.set(xlabel="frame", ylabel=f"latency, ms (mean of {_WINDOW})", yscale="log")
        distribution.set(xlabel="latency, ms", ylabel="share of frames", xscale="log")
        for axis in (over_time.yaxis, distribution.xaxis):
            # 20, 50, 100: powers of ten are too far apart here, and minor labels run into each other.
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.set_major_formatter(ScalarFormatter())
            axis.set_minor_formatter(NullFormatter())
        over_time.legend(fontsize="small")
    figure.suptitle(
        f"Emulated devices and links, weights {report['emulated']['weights']}, seed {settings.seed}",
        fontsize="small",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _smooth(runs: Sequence[Sequence[float]]) -> npt.NDArray[np.float64]:
    """Mean over devices, then over a moving window, shape (frames - window + 1,)."""
    length = min(map(len, runs))
    mean = np.mean([run[:length] for run in runs], axis=0)
    window = min(_WINDOW, length)
    return np.convolve(mean, np.full(window, 1.0 / window), mode="valid")


def _offset(runs: Sequence[Sequence[float]]) -> int:
    """The frame at the end of the first window."""
    return min(_WINDOW, *map(len, runs)) - 1
