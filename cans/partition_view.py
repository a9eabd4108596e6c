"""What `cans partition` finds, as tables for people and JSON for programs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bus.errors import ConfigurationError
from partition.example import Example, parse, read
from partition.graph import TensorSpec
from partition.survey import CutFound, Survey, survey
from partition.zoo import open_any

# Of the JSON; its schema is docs/schemas/partition.json.
VERSION = 1
_OPERATORS_SHOWN = 8
_HOW = {
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


@dataclass(frozen=True, slots=True)
class Found:
    """What was found: where the weights are from, and the network's cuts."""

    weights_label: str
    survey: Survey


def look(settings: PartitionSettings, *, progress: bool) -> Found:
    """Open the model and survey it; a bar on stderr if it is a terminal.

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
    module, example, label = open_any(
        settings.model, weights=settings.weights, seed=settings.weights_seed, example=example
    )
    console = Console(stderr=True)
    columns = (TextColumn("checking cuts"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not (progress and console.is_terminal)
    ) as bar:
        task = bar.add_task("", total=None)
        found = survey(
            module, example, batches, lambda done, total: bar.update(task, completed=done, total=total)
        )
    return Found(label, found)


def show(settings: PartitionSettings, found: Found, *, everything: bool) -> None:
    """Print what was found."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    seen = found.survey
    console.print(
        f"[bold]{settings.model}[/bold], weights {found.weights_label}: {seen.parameters:,} parameters, "
        f"{seen.macs:,} multiply-accumulates, {seen.nodes} nodes ({_HOW[seen.how]})",
        highlight=False,
    )
    console.print(
        f"in {_tensors(seen.inputs)}; out {_tensors(seen.outputs)}",
        highlight=False,
        style="dim",
        markup=False,
    )
    rows = [cut for cut in seen.cuts if everything or cut.useful]
    console.print(_cuts_table(rows, seen))
    if not everything and len(rows) < len(seen.cuts):
        console.print(
            f"{len(seen.cuts) - len(rows)} more places send no less than an earlier one: --all lists them",
            style="dim",
        )
    console.print(_operators_table(seen))
    for sentence in _remarks(seen):
        console.print(sentence, highlight=False, markup=False)


def as_json(settings: PartitionSettings, found: Found) -> str:
    """Return one JSON object, as docs/schemas/partition.json describes it."""
    seen = found.survey
    said = {
        "version": VERSION,
        "model": settings.model,
        "weights": found.weights_label,
        "traced": seen.how,
        "nodes": seen.nodes,
        "parameters": seen.parameters,
        "inputs": [_spec(tensor) for tensor in seen.inputs],
        "outputs": [_spec(tensor) for tensor in seen.outputs],
        "macs": seen.macs,
        "macs_by_torch": seen.macs_by_torch,
        "exact": seen.exact,
        "refused": {str(batch): reason for batch, reason in seen.refused.items()},
        "operators": [{"name": row.name, "calls": row.calls, "macs": row.macs} for row in seen.operators],
        "cuts": [
            {
                "cut": cut.index,
                "after": cut.after,
                "tensors": [_spec(tensor) for tensor in cut.tensors],
                "bytes": cut.nbytes,
                "macs_before": cut.macs,
                "useful": cut.useful,
                "exact": {str(batch): same for batch, same in cut.exact.items()},
            }
            for cut in seen.cuts
        ],
    }
    return json.dumps(said, indent=2)


def _batches(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise ConfigurationError(f"--batches {text!r} must be sizes from 1 on, comma separated, such as 1,8")
    return sizes


def _cuts_table(rows: list[CutFound], seen: Survey) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("cut", "after", "crosses"):
        table.add_column(name, justify="right" if name == "cut" else "left", overflow="fold")
    for name in ("bytes", "of input", "work before", "exact"):
        table.add_column(name, justify="right")
    first = max(seen.cuts[0].nbytes, 1)
    for cut in rows:
        last = cut.index == len(seen.cuts) - 1
        table.add_row(
            str(cut.index),
            cut.after,
            "nothing" if last else _tensors(cut.tensors),
            f"{cut.nbytes:,}",
            f"{cut.nbytes / first:.3f}",
            f"{cut.macs / max(seen.macs, 1):.1%}",
            _exact(cut.exact),
        )
    return table


def _operators_table(seen: Survey) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("operator")
    for name in ("calls", "multiply-accumulates", "share"):
        table.add_column(name, justify="right")
    for row in seen.operators[:_OPERATORS_SHOWN]:
        table.add_row(row.name, str(row.calls), f"{row.macs:,}", f"{row.macs / max(seen.macs, 1):.1%}")
    return table


def _remarks(seen: Survey) -> list[str]:
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


def _tensors(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{'x'.join(map(str, spec.shape)) or 'scalar'} {spec.dtype}" for spec in specs)


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {"shape": list(spec.shape), "dtype": spec.dtype, "bytes": spec.nbytes}
