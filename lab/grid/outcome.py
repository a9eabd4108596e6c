"""Where `default` wins and where it loses: its latency in each cell against the best simple policy. Pure.

The simple policy of a cell is picked with hindsight, from the same numbers, which is to its favour. Ratios
are of means, paired by seed, with bootstrap intervals (`lab/testbed/report/ratios.py`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from lab.simulator import spec
from lab.simulator.grid import Cell, folder_of
from lab.simulator.report import LIMIT
from lab.simulator.summary import Report
from lab.testbed.report.ratios import Ratio, ratio
from lab.testbed.report.tables import OURS, RIVAL, SIMPLE

Names = Mapping[str, Iterable[str]]
"""Axis to its values, in the order of the file."""
Verdict = Literal["win", "tie", "loss", "unproven"]
VERDICTS: tuple[Verdict, ...] = ("win", "tie", "loss", "unproven")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out in one cell.

    Attributes:
        name: of its folder. cell: axis to value.
        simple: against the best simple policy; None where none was played.
        rival: against ANS.
        first, later: as `simple`, over each device's frames before `settle_frames` and from there on; None
            where nobody gets so far.
    """

    name: str
    cell: Cell
    simple: Ratio | None
    rival: Ratio | None
    first: Ratio | None
    later: Ratio | None

    @property
    def verdict(self) -> Verdict:
        """Say how it stands to the best simple policy, and only as far as the interval carries.

        A loss is more than 2 % above it beyond the interval, a win is below it beyond the interval.
        """
        if self.simple is None or self.simple.ci95 is None:
            return "unproven"
        low, high = self.simple.ci95
        if low > LIMIT:
            return "loss"
        return "win" if high < 1.0 else "tie"


def outcome_of(cell: Cell, experiment: spec.Experiment, report: Report) -> Outcome:
    """Return what came out in a cell.

    Args:
        cell: which.
        experiment: as it is there.
        report: content of its `summary.json`.
    """
    means = {name: row["mean_ms"]["mean"] for name, row in report["policies"].items() if "mean_ms" in row}
    simple = {name: mean for name, mean in means.items() if name in SIMPLE}
    best = min(simple, key=simple.__getitem__, default="")
    whole, later = _means(report, "mean_ms"), _means(report, "later_mean_ms")
    first = _first(whole, later, experiment)
    return Outcome(
        folder_of(cell),
        cell,
        _against(whole, best),
        _against(whole, RIVAL),
        _against(first, best),
        _against(later, best),
    )


_ByPolicy = dict[str, dict[str, float]]
"""Policy to seed to mean latency, ms."""


def _against(means: _ByPolicy, other: str) -> Ratio | None:
    return ratio(OURS, means.get(OURS, {}), other, means.get(other, {}))


def _means(report: Report, figure: str) -> _ByPolicy:
    return {
        policy: {seed: row[figure] for seed, row in rows.items() if figure in row}
        for policy, rows in report["by_seed"].items()
    }


def _first(whole: _ByPolicy, later: _ByPolicy, experiment: spec.Experiment) -> _ByPolicy:
    """Return the means of first frames: what is left of all when the later ones are taken out."""
    first = experiment.settle_frames
    frames = experiment.world.frames if isinstance(experiment.world, spec.Site) else first
    return {
        policy: {
            seed: (frames * whole[policy][seed] - (frames - first) * mean) / first
            for seed, mean in rows.items()
        }
        for policy, rows in later.items()
    }


def in_short(outcomes: Sequence[Outcome]) -> str:
    """Return how many cells are won, level and lost, and the lost ones by name, in bold."""
    counts = Counter(one.verdict for one in outcomes)
    judged = len(outcomes) - counts["unproven"]
    said = (
        f"of {_cells(judged)}, `{OURS}` is faster than the best simple policy in {counts['win']}, within "
        f"{100.0 * (LIMIT - 1.0):g} % of it or level with it in {counts['tie']}, and slower by more than "
        f"that, beyond its interval, in {counts['loss']}."
    )
    if not judged:
        return f"unproven: {_cells(len(outcomes))}, and none had enough seeds for an interval."
    if counts["unproven"]:
        said += f" {_cells(counts['unproven'])} had too few seeds for an interval."
    losses = sorted(
        ((one, one.simple) for one in outcomes if one.verdict == "loss" and one.simple is not None),
        key=lambda pair: -pair[1].value,
    )
    if losses:
        listed = "; ".join(
            f"{words_of(one.cell)} {found.value:.3f} ({found.against})" for one, found in losses
        )
        said += f" **Exceptions: {listed}.**"
    return said


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def words_of(cell: Cell) -> str:
    """Return a cell's values, for people."""
    return ", ".join(cell.values())


def said_of(found: Ratio | None) -> str:
    """Return a ratio with its interval, as far as there are any."""
    if found is None:
        return "-"
    interval = "" if found.ci95 is None else f" ({found.ci95[0]:.3f} to {found.ci95[1]:.3f})"
    return f"{found.value:.3f}{interval}"


def rows_of(axes: Names, outcomes: Sequence[Outcome]) -> dict[str, dict[str, Outcome]]:
    """Return the outcomes as a table: the last axis across, all others down; without cells not played."""
    last = list(axes)[-1]
    rows: dict[str, dict[str, Outcome]] = {}
    for one in outcomes:
        label = ", ".join(value for axis, value in one.cell.items() if axis != last)
        rows.setdefault(label, {})[one.cell[last]] = one
    return rows


def columns_of(axes: Names) -> list[str]:
    """Return the values of the axis that goes across."""
    return list(axes[list(axes)[-1]])


def report_of(
    axes: Names,
    outcomes: Sequence[Outcome],
    reports: Mapping[str, Report],
    provenance: Mapping[str, Any],
) -> Report:
    """Return the content of a grid's `summary.json`; figures of each seed are in those of its cells.

    Args:
        axes: of the grid.
        outcomes: of the cells that were played.
        reports: name of a cell to its own summary.
        provenance: of the run.
    """
    counts = Counter(one.verdict for one in outcomes)
    cells = {
        one.name: {
            "cell": dict(one.cell),
            "verdict": one.verdict,
            "simple": msgspec.to_builtins(one.simple),
            "rival": msgspec.to_builtins(one.rival),
            "first": msgspec.to_builtins(one.first),
            "later": msgspec.to_builtins(one.later),
            "policies": reports[one.name]["policies"],
        }
        for one in outcomes
    }
    return {
        "axes": {axis: list(values) for axis, values in axes.items()},
        "verdicts": {verdict: counts[verdict] for verdict in VERDICTS},
        "cells": cells,
        "provenance": dict(provenance),
    }
