"""What `cans partition` does: opens a network, surveys and measures it, shows it as tables."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from bus.errors import ConfigurationError
from cans.partition_rows import rows_of, sentences_of
from partition.graphs.example import Example, parse, read
from partition.graphs.graph import TensorSpec
from partition.graphs.survey import CutFound, Survey, survey
from partition.measured import Measured, OnStep, Wanted, why_no_frames
from partition.measured import look as measure
from partition.networks.zoo import open_any

_OPERATORS_SHOWN = 8
_SILENT_S = 10.0
HOW = {
    "symbolic": "read by torch.fx: layers as nodes",
    "export": "read by torch.export: operators as nodes",
}


@dataclass(frozen=True, slots=True)
class PartitionSettings:
    """What a person asked for; see `cans partition --help`."""

    model: str
    inputs: tuple[str, ...] = ()
    example: Path | None = None
    weights: Path | None = None
    weights_seed: int = 0
    batches: str = "1,8"
    measure: bool | None = None
    wanted: Wanted = field(default_factory=Wanted)
    html: Path | None = None

    def __post_init__(self) -> None:
        """Refuse a page that cannot be written before a minute is spent."""
        if self.html is None:
            return
        folder = self.html.parent
        if self.html.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
            raise ConfigurationError(
                f"--html {self.html} cannot be written: give a file in a folder that exists and is yours"
            )


@dataclass(frozen=True, slots=True)
class Found:
    """What was found: where the weights are from, the cuts, and what was measured or why nothing was."""

    weights_label: str
    survey: Survey
    measured: Measured | None = None
    unmeasured: str = ""


def look(settings: PartitionSettings, *, progress: bool) -> Found:
    """Open the model, survey it, measure it if it classifies frames; progress is told on stderr.

    Args:
        settings: which model, and how.
        progress: whether checking cuts shows a bar as well.

    Raises:
        ConfigurationError: it cannot be opened, called or cut, in one sentence.
    """
    if settings.inputs and settings.example is not None:
        raise ConfigurationError("--input and --example both say what to call the network with: give one")
    batches = _batches(settings.batches)
    example: Example | None = None
    if settings.example is not None:
        example = read(settings.example)
    elif settings.inputs:
        example = parse(settings.inputs)
    opened = open_any(settings.model, weights=settings.weights, seed=settings.weights_seed, example=example)
    console = Console(stderr=True)
    columns = (TextColumn("checking cuts"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not (progress and console.is_terminal)
    ) as bar:
        task = bar.add_task("", total=None)
        found = survey(
            opened.module,
            opened.example,
            batches,
            lambda done, total: bar.update(task, completed=done, total=total),
            settings.wanted.threads,
        )
    if settings.measure is False:
        return Found(opened.weights_label, found, unmeasured="--no-measure was asked for")
    lacks = why_no_frames(opened.network, [(spec.shape, spec.dtype) for spec in found.outputs])
    if lacks and settings.measure:
        raise ConfigurationError(f"{settings.model} cannot be measured: {lacks}")
    if lacks or opened.network is None:
        return Found(opened.weights_label, found, unmeasured=lacks)
    with _steps() as on_step:
        measured = measure(opened.network, settings.wanted, on_step)
    return Found(opened.weights_label, found, measured)


def show(settings: PartitionSettings, found: Found, *, everything: bool) -> None:
    """Print what was found."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    seen = found.survey
    console.print(
        f"[bold]{settings.model}[/bold], weights {found.weights_label}: {seen.parameters:,} parameters, "
        f"{seen.macs:,} multiply-accumulates, {seen.nodes} nodes ({HOW[seen.how]})",
        highlight=False,
    )
    console.print(
        f"in {tensors_in_words(seen.inputs)}; out {tensors_in_words(seen.outputs)}",
        highlight=False,
        style="dim",
        markup=False,
    )
    rows = [cut for cut in seen.cuts if everything or cut.useful]
    console.print(_cuts_table(rows, seen, () if found.measured is None else found.measured.cuts))
    if not everything and len(rows) < len(seen.cuts):
        console.print(
            f"{len(seen.cuts) - len(rows)} more places send no less than an earlier one: --all lists them",
            style="dim",
        )
    console.print(_operators_table(seen))
    if found.measured is not None:
        console.print(_arms_table(found.measured))
    sentences = remarks_of(seen)
    if found.measured is not None:
        sentences += sentences_of(found.measured)
        sentences += [f"times are not to be trusted: {each}" for each in found.measured.profile.warnings]
    else:
        sentences.append(f"not measured: {found.unmeasured}")
    for sentence in sentences:
        console.print(sentence, highlight=False, markup=False)


def _batches(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise ConfigurationError(f"--batches {text!r} must be sizes from 1 on, comma separated, such as 1,8")
    return sizes


def _cuts_table(rows: list[CutFound], seen: Survey, cuts: Sequence[int]) -> Table:
    """Return a row a place, with the number that arms, `cans train` and devices know it by."""
    table = Table(box=None, pad_edge=False)
    for name in ("place", "cut", "after", "crosses"):
        table.add_column(name, justify="right" if name in {"place", "cut"} else "left", overflow="fold")
    for name in ("bytes", "of input", "work before", "exact"):
        table.add_column(name, justify="right")
    first = max(seen.cuts[0].nbytes, 1)
    for cut in rows:
        last = cut.index == len(seen.cuts) - 1
        table.add_row(
            str(cut.index),
            str(cuts.index(cut.index)) if cut.index in cuts else "",
            cut.after,
            "nothing" if last else tensors_in_words(cut.tensors),
            f"{cut.nbytes:,}",
            f"{cut.nbytes / first:.3f}",
            f"{cut.macs / max(seen.macs, 1):.1%}",
            _exact(cut.exact),
        )
    return table


def _arms_table(measured: Measured) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("arm", "cut after"):
        table.add_column(name, overflow="fold")
    for name in ("bytes", "top-1", "cosine", "max error", "device ms", "edge ms"):
        table.add_column(name, justify="right")
    table.add_column("verdict", overflow="fold")
    for row in rows_of(measured):
        table.add_row(
            row.arm.label, row.after, f"{row.payload_bytes:,.0f}", f"{row.top1:.3f}", f"{row.cosine:.5f}",
            f"{row.max_error:.4f}", f"{row.device_ms:.3f}", f"{row.edge_ms:.3f}", f"{row.verdict}: {row.why}",
            style=None if row.verdict == "stays" else "dim",
        )  # fmt: skip
    return table


@contextmanager
def _steps() -> Iterator[OnStep]:
    """Tell steps on standard error: a bar on a terminal, else a line a step, and one now and then."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # Redrawn by the steps alone: a thread that draws meanwhile would be timed too.
    bar = Progress(
        *columns, console=console, transient=True, auto_refresh=False, disable=not console.is_terminal
    )
    tasks: dict[str, TaskID] = {}
    said = time.monotonic()

    def told(name: str, done: int, total: int | None) -> None:
        nonlocal said
        first = name not in tasks
        if first:
            tasks[name] = bar.add_task(name, total=total)
        # On a busy machine a step takes minutes: nobody should have to guess whether it goes on.
        if not console.is_terminal and (first or time.monotonic() - said > _SILENT_S):
            console.print(f"{name} ..." if first else f"{name}: {done} of {total}", highlight=False)
            said = time.monotonic()
        bar.update(tasks[name], completed=done, total=total)
        bar.refresh()

    with bar:
        yield told


def _operators_table(seen: Survey) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("operator")
    for name in ("calls", "multiply-accumulates", "share"):
        table.add_column(name, justify="right")
    for row in seen.operators[:_OPERATORS_SHOWN]:
        table.add_row(row.name, str(row.calls), f"{row.macs:,}", f"{row.macs / max(seen.macs, 1):.1%}")
    return table


def remarks_of(seen: Survey) -> list[str]:
    """Return what is odd about a network, a sentence each."""
    said = []
    if seen.macs and abs(seen.macs_by_torch / seen.macs - 1.0) > 0.01:
        said.append(
            f"torch's own counter finds {seen.macs_by_torch:,} multiply-accumulates: it does not know every "
            "kernel of this network"
        )
    said.extend(f"not checked with batch {batch}: {reason}" for batch, reason in seen.refused.items())
    wrong = [str(cut.index) for cut in seen.cuts if not all(cut.exact.values())]
    if wrong:
        said.append(f"NOT EXACT: cuts {', '.join(wrong)} give other bits than the whole network")
    return said


def _exact(checks: dict[int, bool]) -> str:
    if not checks:
        return "not checked"
    wrong = [str(batch) for batch, same in checks.items() if not same]
    return f"NOT with batch {', '.join(wrong)}" if wrong else "yes"


def tensors_in_words(specs: tuple[TensorSpec, ...]) -> str:
    """Return shapes and dtypes."""
    return ", ".join(f"{'x'.join(map(str, spec.shape)) or 'scalar'} {spec.dtype}" for spec in specs)
