"""The page of a grid in `docs/results/`: written by the run, never by hand."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bus.errors import ConfigurationError
from lab.grid.map_figure import draw
from lab.grid.outcome import Names, Outcome, columns_of, in_short, rows_of, said_of, words_of
from lab.simulator import spec
from lab.simulator.report import IN_SHORT
from lab.testbed.report.ratios import Ratio
from lab.testbed.report.tables import OURS, RIVAL


def write_page(
    experiment: spec.Experiment,
    axes: Names,
    outcomes: Sequence[Outcome],
    provenance: Mapping[str, Any],
    page: Path,
) -> None:
    """Write a page, and put the map beside it.

    Args:
        experiment: what was asked.
        axes: of its grid.
        outcomes: of at least one cell.
        provenance: of the run.
        page: NAME.md; the map becomes NAME-map.png.

    Raises:
        ConfigurationError: it cannot be written there.
    """
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        drawn = draw(axes, outcomes)
        target = page.with_name(f"{page.stem}-{drawn.name}.png")
        drawn.png(target)
        picture = (f"![{drawn.title}]({target.name})", f"{drawn.title}. {drawn.says}")
        text = "\n\n".join((*_text(experiment, axes, outcomes, provenance, picture), _source(provenance)))
        page.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot write the page {page}: {error.strerror}") from None


def _text(
    experiment: spec.Experiment,
    axes: Names,
    outcomes: Sequence[Outcome],
    provenance: Mapping[str, Any],
    picture: Sequence[str],
) -> Iterator[str]:
    first, last = provenance["seeds"]
    yield f"# {experiment.title}"
    yield experiment.asks
    yield f"{IN_SHORT} {in_short(outcomes)}"
    how = "Simulated" if provenance["simulated"] else f"Measured, {provenance['emulated']} emulated"
    yield (
        f"{how}; {len(outcomes)} cells, seeds {first} to {last} in each. A number is the mean latency of "
        f"`{OURS}` over that of another, in brackets its 95 % interval (bootstrap, paired by seed). "
        f"Written by\n\n    {provenance['command']}"
    )
    yield from picture
    yield f"`{OURS}` over the best simple policy of each cell, picked with hindsight; exceptions in bold:"
    yield _matrix(axes, outcomes, lambda one: one.simple, lambda one: one.verdict == "loss", named=True)
    losses = [one for one in outcomes if one.verdict == "loss"]
    if losses:
        yield f"Where it loses, on the first {experiment.settle_frames} frames of a device and afterwards:"
        yield _table(
            ("cell", "best simple policy", "ms", f"{OURS} ms", "ratio", "first frames", "afterwards"),
            (_lost(one) for one in losses),
        )
    yield f"`{OURS}` over `{RIVAL}`; where it is slower beyond the interval in bold:"
    yield _matrix(axes, outcomes, lambda one: one.rival, lambda one: _slower(one.rival), named=False)


def _slower(found: Ratio | None) -> bool:
    return found is not None and found.verdict == "slower"


def _lost(one: Outcome) -> Iterator[str]:
    assert one.simple is not None  # else it were no loss
    yield f"**{words_of(one.cell)}**"
    yield one.simple.against
    yield f"{one.simple.other_ms:,.1f}"
    yield f"{one.simple.own_ms:,.1f}"
    for found in (one.simple, one.first, one.later):
        yield said_of(found)


def _matrix(
    axes: Names,
    outcomes: Sequence[Outcome],
    pick: Callable[[Outcome], Ratio | None],
    loud: Callable[[Outcome], bool],
    *,
    named: bool,
) -> str:
    columns = columns_of(axes)

    def cell(one: Outcome | None) -> str:
        if one is None:
            return "-"
        found = pick(one)
        said = said_of(found) + (f" {found.against}" if named and found is not None else "")
        return f"**{said}**" if loud(one) else said

    rows = (
        (label, *(cell(row.get(each)) for each in columns)) for label, row in rows_of(axes, outcomes).items()
    )
    return _table((", ".join(list(axes)[:-1]), *columns), rows)


def _table(headings: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _source(provenance: Mapping[str, Any]) -> str:
    versions = provenance["versions"]
    said = ", ".join(f"{name} {versions[name]}" for name in ("cans", "python", "numpy"))
    return f"From `{provenance['experiment']}`, {said}, {versions['machine']}."
