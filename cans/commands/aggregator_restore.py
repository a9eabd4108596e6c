"""`cans aggregator restore`."""

from pathlib import Path

import click

from cans.settings import Command


@click.command(
    "restore",
    cls=Command,
    epilog="Exit codes: 0 done, 2 no snapshot, or a folder that has groups already.",
)
@click.argument("snapshot", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("state/aggregator"),
    help="Folder of the aggregator that is to begin with it; it must hold no groups yet.",
)
def restore(*, snapshot: Path, state_dir: Path) -> None:
    """Let the next `cans aggregator` in a folder begin with SNAPSHOT.

    SNAPSHOT is what `cans rewind -o` has written, or the file `groups` of another aggregator's folder.
    Devices take it for an aggregator that began anew: they adopt what it knows, and keep what they know
    themselves.

    \b
    Example:
      cans rewind site.mcap --at 1:30 -o then.groups
      cans aggregator restore then.groups --state-dir state/then
      cans aggregator --state-dir state/then
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    from cans.rewind import restore as write  # noqa: PLC0415 - see cans/commands/__init__.py

    ledger = write(snapshot, state_dir)
    groups = ", ".join(f"{key.group} at version {ledger[key].version}" for key in ledger) or "no group"
    click.echo(f"{state_dir} holds {groups}")
