"""The map of arms as a picture: link rate across, edge speed-up up, coloured by the arm that is best."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bus.errors import ConfigurationError
from partition.pruning.best_map import BestMap, MiddleGain

# Okabe and Ito's colours, told apart by everybody, light enough for dark labels; the largest areas get them.
_COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#7FA8FF", "#DDCC77")
_OTHERS = "#BBBBBB"
_INK = "#767676"  # 4.5 : 1 on white as on black; the paper of the figure is transparent
_LABEL_SHARE = 0.02  # of the map, from which on an arm's name is written into its area


def draw(
    found: BestMap,
    labels: Sequence[str],
    path: Path | BinaryIO,
    *,
    title: str,
    gain: MiddleGain | None = None,
) -> None:
    """Write the map as SVG, the same bytes for the same map.

    Args:
        found: the map, at least two rates and two speed-ups.
        labels: of the arms.
        path: file to write, open or not.
        title: above the map.
        gain: outlines where an arm in the middle beats the best of the ends.

    Raises:
        ConfigurationError: a map of one row or column, or a file that cannot be written.
    """
    if min(found.winners.shape) < 2:
        raise ConfigurationError(
            "a map with one rate or one speed-up cannot be drawn: give two or more of each"
        )
    style: Any = {
        "svg.hashsalt": "cans",
        "svg.fonttype": "none",
        "font.size": 9,
        **dict.fromkeys(
            ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK
        ),
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(8.0, 4.6), layout="constrained", facecolor="none")
        axes = figure.subplots()
        _colour(axes, found, labels)
        if gain is not None and gain.share > 0.0:
            axes.contour(
                found.rates, found.speedups, gain.gain, levels=[0.0], colors="black", linestyles="--"
            )
        _scale(axes)
        axes.set_title(title, fontsize=10)
        try:
            figure.savefig(path, format="svg", metadata={"Date": None, "Title": title})
        except OSError as error:
            raise ConfigurationError(f"cannot write the map {path}: {error.strerror}") from None


def _colour(axes: Axes, found: BestMap, labels: Sequence[str]) -> None:
    shares = found.shares()
    named = list(shares)[: len(_COLOURS)]
    place = np.full(max(shares) + 1, len(named))
    place[named] = np.arange(len(named))
    axes.pcolormesh(
        found.rates,
        found.speedups,
        place[found.winners],
        cmap=ListedColormap([*_COLOURS[: len(named)], _OTHERS]),
        vmin=-0.5,
        vmax=len(named) + 0.5,
        shading="nearest",
        rasterized=True,
    )
    key = [
        Patch(color=colour, label=f"{labels[arm]}  {shares[arm]:.1%}")
        for arm, colour in zip(named, _COLOURS, strict=False)
    ]
    if len(shares) > len(named):
        rest = sum(share for arm, share in shares.items() if arm not in named)
        key.append(Patch(color=_OTHERS, label=f"{len(shares) - len(named)} others  {rest:.1%}"))
    axes.legend(
        handles=key, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, title="best arm, share"
    )
    for arm in named:
        if shares[arm] >= _LABEL_SHARE:
            row, column = _inside(found, arm)
            axes.text(
                found.rates[column], found.speedups[row], labels[arm], color="black", ha="center", va="center"
            )


def _inside(found: BestMap, arm: int) -> tuple[int, int]:
    """Return the grid point of an arm's area that is farthest from its border, in grid steps."""
    area = np.pad(found.winners == arm, 1)
    depth = np.zeros(area.shape)
    while area.any():
        depth += area
        area[1:-1, 1:-1] &= area[:-2, 1:-1] & area[2:, 1:-1] & area[1:-1, :-2] & area[1:-1, 2:]
    row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return int(row) - 1, int(column) - 1


def _scale(axes: Axes) -> None:
    axes.set(
        xscale="log", yscale="log", xlabel="link, Mbit/s", ylabel="edge worker, times as fast as the device"
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate / 1e6:g}"))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda speedup, _: f"{speedup:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
