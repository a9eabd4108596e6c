"""`python -m lab.theory`: the regret bound with all its constants, above the regret that is measured.

Plays FedLinUCB-DW with the radius that docs/theory.md proves, in the synthetic world of the literature, for
several group sizes, triggers, views and horizons, prints a table, and writes it as a page with a figure
beside it. Exit code 1 if a measured curve crosses its bound. Two seeds take half a minute of one core.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from lab.theory.page import HEADINGS, Outcome, summary, write
from lab.theory.play import Case, play

FIRST_SEED = 1000  # as experiments: seeds below are for tuning
CASES = (
    Case(members=1, alpha=1.0),
    Case(members=4, alpha=0.25),
    Case(members=4, alpha=0.25, offline=40),
    Case(members=16, alpha=0.0625),
    Case(members=16, alpha=1.0),
    Case(members=16, alpha=0.0625, download="uploader"),
    Case(members=4, alpha=0.0625, view="fresh", radius="group"),
    Case(members=16, alpha=1.0, view="fresh", radius="group"),
    Case(members=4, alpha=0.0625, view="fresh", download="uploader", radius="group"),
)


def main() -> int:
    """Play, write, show."""
    description, _, more = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(prog="python -m lab.theory", description=description, epilog=more)
    parser.add_argument("--seeds", type=_count, default=3, help="runs of each case and horizon (3)")
    parser.add_argument(
        "--rounds",
        type=_count,
        action="append",
        help="horizon T, rounds of the whole group; repeat for several (1000 and 3000)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/theory.md"),
        help="page to write, its figure beside it (out/theory.md)",
    )
    arguments = parser.parse_args()
    outcomes = []
    with threadpool_limits(limits=1):
        for horizon in sorted(set(arguments.rounds or (1000, 3000))):
            for case in CASES:
                print(f"theory: T = {horizon}, {case.name}", file=sys.stderr, flush=True)
                runs = [play(case, horizon, FIRST_SEED + i) for i in range(arguments.seeds)]
                outcomes.append(Outcome(case, horizon, runs))
    try:
        write(outcomes, arguments.out, arguments.seeds)
    except OSError as error:
        print(f"theory: cannot write {arguments.out}: {error.strerror}", file=sys.stderr)
        return 2
    grid = Table(*HEADINGS)
    for one in outcomes:
        grid.add_row(*one.row())
    Console(width=180).print(grid)
    crossed = [name for name, holds in summary(outcomes).items() if not holds]
    for name in crossed:
        print(f"theory: measured regret crosses the bound: {name}", file=sys.stderr)
    return 1 if crossed else 0


def _count(said: str) -> int:
    if not said.isdecimal() or not 1 <= int(said) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{said!r} will not do: a whole number from 1 to 1,000,000")
    return int(said)


if __name__ == "__main__":
    sys.exit(main())
