"""`cans backup`."""

from pathlib import Path

import click

from cans.settings import Command, CommandWithParts, part_named

_EPILOG = "Exit codes: 0 done, 2 a folder, a file or the disk cannot work, 130 Ctrl-C."
_FILE = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))


@click.group("backup", cls=CommandWithParts, epilog=_EPILOG)
@click.pass_context
def backup(ctx: click.Context) -> None:
    """Keep what a site cannot make again in one file: certificates, what groups know, models.

    Devices need none: a new one is warm by its group.

    \b
    Examples:
      cans backup write state/main broker -o monday.tar.gz
      cans backup show monday.tar.gz
      cans backup restore monday.tar.gz --into restored
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    if not part_named(ctx):
        click.echo(ctx.get_help())


@backup.command("write", cls=Command, epilog=_EPILOG)
@click.argument(
    "folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write, which only you can read: it holds private keys. One that is there is kept.",
)
def write(*, folders: tuple[Path, ...], out: Path) -> None:
    """Write FOLDERS into one file, while their roles go on: of brokers, aggregators, models."""
    from cans.backup import write_backup  # noqa: PLC0415 - see cans/commands/__init__.py

    for each in write_backup(folders, out):
        click.echo(f"{each.kind}: {each.was}")
    click.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


@backup.command("show", cls=Command, epilog=_EPILOG)
@_FILE
def show(*, file: Path) -> None:
    """Say what FILE holds, and read it to its end."""
    from cans.backup import contents  # noqa: PLC0415 - see cans/commands/__init__.py

    said = contents(file)
    click.echo(f"made {said.at} by cans {said.version}")
    for each in said.folders:
        click.echo(f"{each.kind}: {each.name}, which was {each.was}")


@backup.command("restore", cls=Command, epilog=_EPILOG)
@_FILE
@click.option(
    "--into",
    default=Path(),
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder below which they are put, under their names; what is there is never touched.",
)
def restore(*, file: Path, into: Path) -> None:
    """Put what FILE holds back.

    Devices take a restored aggregator for one that began anew: they adopt what it knows, and keep what they
    know themselves.
    """
    from cans.backup import restore_backup  # noqa: PLC0415 - see cans/commands/__init__.py

    for kind, place in restore_backup(file, into):
        click.echo(
            f"{place}: give it to cans {'edge --models-dir' if kind == 'models' else f'{kind} --state-dir'}"
        )
