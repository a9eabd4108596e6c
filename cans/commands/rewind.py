"""`cans rewind`."""

import math
import sys
from pathlib import Path

import click

from cans.moments import Moment
from cans.settings import Command

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("rewind", cls=Command)
@click.argument("file", type=_FILE)
@click.option(
    "--at",
    "at_s",
    type=Moment(),
    help="When: seconds after the first message, M:SS or H:MM:SS; the end when not given.",
)
@click.option(
    "-o", "--out", type=_FILE, help="Write what was known as a snapshot, for cans aggregator restore."
)
@click.option(
    "--state", type=_FILE, help="The aggregator's snapshot when the recording began, if it had one."
)
@click.option("--groups", type=_FILE, help="Groups of several types, as for cans aggregator.")
@click.option("--regularisation", default=0.1, help="As the recorded aggregator had it.")
@click.option("--guard/--no-guard", default=True, help="As the recorded aggregator had it.")
@click.option("--json", "for_programs", is_flag=True, help="One JSON object, for programs.")
def rewind(
    *,
    file: Path,
    at_s: float | None,
    out: Path | None,
    state: Path | None,
    groups: Path | None,
    regularisation: float,
    guard: bool,
    for_programs: bool,
) -> None:
    """Say what each group knew at a moment of FILE, a recording, and what each device had handed in.

    Everything that was sent to the aggregator until then is merged again, by its own code, and held against
    every broadcast that was recorded: to the bit, where the order was the same. FILE has to begin with the
    aggregator's first start, or --state say what it knew before.

    \b
    Examples:
      cans rewind site.mcap --at 1:30
      cans rewind site.mcap --at 1:30 -o then.groups
      cans aggregator restore then.groups --state-dir state/then
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    from aggregator.settings import read_groups  # noqa: PLC0415 - see cans/commands/__init__.py
    from cans.rewind import RewindSettings, rewound, save, tell  # noqa: PLC0415

    if out is not None and out.exists():
        raise click.UsageError(f"{out} is there already: name another file")
    settings = RewindSettings(
        file=file,
        at_s=math.inf if at_s is None else at_s,
        state=state,
        groups=read_groups(groups) if groups else {},
        regularisation=regularisation,
        guard=guard,
    )
    found, when = rewound(settings)
    tell(found, when, sys.stdout, as_json=for_programs)
    if out is not None:
        save(found, out)
        click.echo(f"{out} is written", err=True)
