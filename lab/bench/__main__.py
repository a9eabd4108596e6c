"""`python -m lab.bench --out out/bench.json`: every benchmark, as JSON and as a table.

Exit code 1 if a figure misses its limit.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bus.errors import ConfigurationError
from lab.bench.rows import Row

# Name to module; imported when it is its turn, so that one benchmark does not carry another's libraries.
BENCHES = {
    "rpc": "lab.bench.rpc",
    "learning": "lab.bench.learning",
    "playing": "lab.bench.playing",
    "cutting": "lab.bench.cutting",
    "backends": "lab.bench.backends",
    "batching": "lab.bench.batching",
    "merging": "lab.bench.merging",
    "codecs": "lab.bench.codecs",
    "idle": "lab.bench.idle",
    "simulating": "lab.bench.simulating",
    "reporting": "lab.bench.reporting",
    "shaping": "lab.bench.shaping",
    "coordinating": "lab.bench.coordinating",
    "hop": "lab.bench.hop",
    "recording": "lab.bench.recording",
    "dashboard": "lab.bench.dashboard",
    "whatif": "lab.bench.whatif",
}


def measure(names: Sequence[str], *, quick: bool) -> Iterator[Row]:
    """Run benchmarks by name, one after another."""
    for name in names:
        print(f"bench: {name}", file=sys.stderr, flush=True)
        yield from importlib.import_module(BENCHES[name]).run(quick=quick)


def table(rows: Sequence[Row]) -> Table:
    """Return the rows for people."""
    grid = Table("benchmark", "unit")
    for column in ("value", "limit", ""):
        grid.add_column(column, justify="right")
    for row in rows:
        sign = "<=" if row.bound == "most" else ">="
        limit = "" if row.limit is None else f"{sign} {row.limit:g}"
        verdict = "" if row.limit is None else "ok" if row.ok else "[bold red]MISSED[/]"
        grid.add_row(row.name, row.unit, f"{row.value:.4g}", limit, verdict)
    return grid


def main() -> int:
    """Measure, write, show."""
    parser = argparse.ArgumentParser(prog="python -m lab.bench", description=__doc__)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--only", action="append", choices=sorted(BENCHES), help="run just this one; repeat")
    parser.add_argument(
        "--quick", action="store_true", help="fewer rounds: to see that it runs, not to judge"
    )
    arguments = parser.parse_args()
    try:
        rows = list(measure(arguments.only or list(BENCHES), quick=arguments.quick))
    except ConfigurationError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(
            json.dumps([row.to_json() for row in rows], indent=1) + "\n", encoding="utf-8"
        )
    Console(width=110).print(table(rows))
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
