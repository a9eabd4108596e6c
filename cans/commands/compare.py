"""`cans compare`."""

import sys
from pathlib import Path

import click

from cans.settings import Command


@click.command("compare", cls=Command)
@click.argument(
    "folders", metavar="DIR [DIR]", nargs=-1, required=True, type=click.Path(file_okay=False, path_type=Path)
)
@click.option("--against", default="", help="With one folder: the policy that each other is compared with.")
@click.option("--policies", default="", help="Names, comma separated; all when not given.")
@click.option("--json", "for_programs", is_flag=True, help="One JSON object, for programs.")
def compare(*, folders: tuple[Path, ...], against: str, policies: str, for_programs: bool) -> None:
    """Tell which differences between results are real.

    DIR is a folder that `cans simulate` has written. Of two, each policy is compared with itself; of one,
    each policy with one of them. Runs are paired by seed, which only runs in the same world can be: the rest
    is left out, with the reason. The verdict is on mean latency, or on regret where there is none; its
    p-values are corrected for the number of policies that differ at all.

    The exit code says whether results could be compared, not what came out: read "verdict" in --json.

    \b
    Examples:
      cans simulate lab/experiments/traces.toml --out before
      cans simulate lab/experiments/traces.toml --set policies.default.beta_prior=1.0 --out after
      cans compare before after
      cans compare before --against default --policies oracle,two_arm
      cans compare before after --json | jq '.comparisons[] | select(.verdict == "higher")'
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    from rich.console import Console  # noqa: PLC0415 - see cans/commands/__init__.py

    from cans.compare import CompareSettings, as_json, compare, remarks_of, tables_of  # noqa: PLC0415

    names = tuple(dict.fromkeys(name for name in policies.split(",") if name))
    settings = CompareSettings(folders, against, names)
    compared = compare(settings)
    if for_programs:
        click.echo(as_json(compared))
        return
    console = Console(width=None if sys.stdout.isatty() else 150)
    for table in tables_of(settings, compared):
        console.print(table)
    for remark in remarks_of(compared):
        click.echo(remark, err=True)
