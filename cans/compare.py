"""Prints which differences between results of `cans simulate` are real."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.table import Table

from bus.errors import ConfigurationError
from lab.simulator.compare import LEVEL, Compared, Comparison, compare_folders, compare_with, read_results

_VERDICTS = {
    ("mean_ms", "lower"): "faster",
    ("mean_ms", "higher"): "slower",
    ("regret", "lower"): "less regret",
    ("regret", "higher"): "more regret",
}


@dataclass(frozen=True, slots=True)
class CompareSettings:
    """What `cans compare` was told.

    Attributes:
        folders: one or two.
        against: with one folder, the policy that all others are compared with.
        policies: names, all when empty.
    """

    folders: tuple[Path, ...]
    against: str = ""
    policies: tuple[str, ...] = ()


def compare(settings: CompareSettings) -> Compared:
    """Compare two folders, or the policies of one.

    Raises:
        ConfigurationError: these cannot be compared.
    """
    match settings.folders, bool(settings.against):
        case (first, second), False:
            return compare_folders(read_results(first), read_results(second), settings.policies)
        case (one,), True:
            return compare_with(read_results(one), settings.against, settings.policies)
        case _:
            raise ConfigurationError(
                "say which two folders to compare, or one folder and --against POLICY in it"
            )


def as_json(compared: Compared) -> str:
    """Return everything, for programs."""
    return json.dumps({**msgspec.to_builtins(compared), "level": LEVEL}, indent=1)


def tables_of(settings: CompareSettings, compared: Compared) -> list[Table]:
    """Return what the figure that matters shows, and the other figures, for orientation."""
    matters = [one for one in compared.comparisons if one.p_holm is not None]
    others = [one for one in compared.comparisons if one.p_holm is None and not one.equal]
    first = _table(_title(settings), _caption(matters))
    first.add_column("p, corrected", justify="right", no_wrap=True)
    first.add_column("second is", no_wrap=True)
    for one in matters:
        first.add_row(*_cells(one), _p(one.p_holm or 0.0), _verdict(one))
    second = _table("Other figures that differ", "p-values by themselves: of many, some are small by chance")
    for one in others:
        second.add_row(*_cells(one))
    return [first, second] if others else [first]


def remarks_of(compared: Compared) -> list[str]:
    """Return what was not compared, in sentences."""
    said = [f"left out: {policy} {why}" for policy, why in compared.left_out.items()]
    unpaired = max(one.unpaired for one in compared.comparisons)
    if unpaired:
        said.append(f"left out: seeds that only one of the two has ({unpaired})")
    return said


def _title(settings: CompareSettings) -> str:
    if settings.against:
        return f"{settings.folders[0]}: first is {settings.against}, second each of these"
    return "first is {}, second is {}".format(*settings.folders)


def _table(title: str, caption: str) -> Table:
    table = Table(title=title, caption=caption)
    for name in ("policy", "figure"):
        table.add_column(name, no_wrap=True)
    for name in ("seeds", "first", "second", "difference (95 %)", "%", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _cells(one: Comparison) -> tuple[str, ...]:
    percent = f"{100.0 * one.difference / abs(one.first):+.1f}" if one.first else ""
    difference = f"{one.difference:+.4g} ({one.ci95[0]:+.4g} to {one.ci95[1]:+.4g})"
    numbers = (f"{one.first:.5g}", f"{one.second:.5g}", difference, percent, _p(one.p))
    return (one.policy, one.figure, str(one.seeds), *numbers)


def _verdict(one: Comparison) -> str:
    if one.verdict == "equal":
        return "equal"
    return _VERDICTS.get((one.figure, one.verdict or ""), "no difference shown")


def _caption(matters: Sequence[Comparison]) -> str:
    """Say what was done, and whether so few seeds could have shown anything."""
    tested = [one for one in matters if not one.equal]
    said = (
        f"paired by seed; difference: second less first, bootstrap interval of its mean; p by permutation, "
        f"corrected for {len(tested)} comparisons (Holm); shown below {LEVEL}"
    )
    # Of n seeds all signs alike are two of 2^n ways: no smaller p can come out.
    least = max((len(tested) * 2.0 ** (1 - one.seeds) for one in tested), default=0.0)
    if least >= LEVEL:
        said += f". The smallest of them cannot be under {min(1.0, least):.2g} with so few seeds: run more"
    return said


def _p(p: float) -> str:
    return f"{p:.4f}" if p >= 0.0001 else "< 0.0001"
