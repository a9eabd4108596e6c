"""What each backend takes on this machine: `python -m partition.profiles.backends_table`, a Markdown table.

Head and tail of each network's middle cut; wants an idle machine. docs/backends.md has such a table.
"""

import argparse
import logging
import sys
from collections.abc import Iterator

from bus.errors import ConfigurationError
from partition.backends import NAMES
from partition.backends.choice import Trial
from partition.networks.zoo import NAMES as NETWORKS
from partition.networks.zoo import load_model
from partition.partitioned import build
from partition.profiles.backends import Measured, all_backends, measure


def table(measured: list[Measured]) -> Iterator[str]:
    """Yield the lines of a table, one row a piece and backend."""
    yield "| network | piece | backend | ms | x of eager | largest relative difference | prepared in s |"
    yield "|---|---|---|--:|--:|--:|--:|"
    for each in measured:
        for trial in each.choice.trials:
            cells = _cells(trial, each.choice.trials[0].seconds)
            yield f"| {each.network} | {each.side} at {each.cut} | {cells} |"


def _cells(trial: Trial, eager: float | None) -> str:
    if trial.seconds is None or eager is None:
        return f"{trial.backend} | - | - | refused: {trial.refused} | -"
    ratio, difference = eager / trial.seconds, trial.difference or 0.0
    figures = f"{trial.seconds * 1e3:.2f} | {ratio:.2f} | {difference:.1e} | {trial.prepare_s:.2f}"
    return f"{trial.backend} | {figures}"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m partition.profiles.backends_table", description=__doc__)
    parser.add_argument("--model", action="append", help="built in, or module:callable; repeat for more")
    parser.add_argument("--backend", default=",".join(NAMES), help="names, comma separated")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=30)
    arguments = parser.parse_args()
    logging.getLogger("torch").setLevel(logging.ERROR)
    measured: list[Measured] = []
    try:
        for name in arguments.model or NETWORKS:
            model = build(load_model(name), threads=arguments.threads)
            backends = all_backends(arguments.threads, arguments.backend.split(","))
            print(f"measuring {name}, while this machine is quiet", file=sys.stderr)  # noqa: T201 - a command
            measured += measure(model, backends, threads=arguments.threads, repeats=arguments.repeats)
    except ConfigurationError as error:
        print(f"backends_table: {error}", file=sys.stderr)  # noqa: T201
        return 2
    print("\n".join(table(measured)))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
