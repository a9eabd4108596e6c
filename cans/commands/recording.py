"""`cans recording`."""

import sys
from pathlib import Path

import click

from cans.settings import Command, CommandWithParts, part_named

_EPILOG = (
    "Settings: flags, then environment, then the file's section [recording].\n\n"
    "Exit codes: 0 done, 1 the recording is not whole (verify), 2 a setting cannot work or there is no such "
    "recording, 130 Ctrl-C."
)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group("recording", cls=CommandWithParts, epilog=_EPILOG)
@click.pass_context
def recording(ctx: click.Context) -> None:
    """Look into what `cans record` has written, check it, mend it, take it elsewhere.

    \b
    Examples:
      cans recording info site.mcap
      cans recording verify site.mcap
      cans recording repair site.mcap mended.mcap
      cans recording export site.mcap -o site.jsonl
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    if not part_named(ctx):
        click.echo(ctx.get_help())


@recording.command("info", cls=Command, epilog=_EPILOG)
@click.argument("file", type=_FILE)
@click.option("--json", "for_programs", is_flag=True, help="One JSON object, for programs.")
def info(*, file: Path, for_programs: bool) -> None:
    """Say when FILE was recorded, what it holds, and where something may be missing."""
    from cans.recording.view import show  # noqa: PLC0415 - see cans/commands/__init__.py

    show(file, sys.stdout, as_json=for_programs)


@recording.command("verify", cls=Command, epilog=_EPILOG)
@click.argument("file", type=_FILE)
def verify(*, file: Path) -> None:
    """Read all of FILE, with its checksums; exit with 1 and a sentence if it is not whole."""
    from cans.recording.tools import verify as check  # noqa: PLC0415

    wrong = check(file)
    if wrong:
        click.echo(wrong, err=True)
        sys.exit(1)
    click.echo(f"{file} is whole")


@recording.command("repair", cls=Command, epilog=_EPILOG)
@click.argument("file", type=_FILE)
@click.argument("out", type=_FILE)
def repair(*, file: Path, out: Path) -> None:
    """Write what can be read of FILE to OUT, with an index; FILE stays as it is."""
    from cans.recording.tools import repair as mend  # noqa: PLC0415

    click.echo(f"{out}: {mend(file, out)} entries")


@recording.command("export", cls=Command, epilog=_EPILOG)
@click.argument("file", type=_FILE)
@click.option("-o", "--out", type=_FILE, help="File to write; standard output when not given.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv"]),
    default="jsonl",
    help="One JSON object a line, or a table with the data as JSON in its last column.",
)
def export(*, file: Path, out: Path | None, form: str) -> None:
    """Write FILE as lines that other programs read; tensors are named, not dumped."""
    from cans.recording.tools import export as write  # noqa: PLC0415

    if out is None:
        write(file, sys.stdout, form)  # type: ignore[arg-type] # one of the choices
        return
    try:
        with out.open("x", encoding="utf-8", newline="") as stream:
            lines = write(file, stream, form)  # type: ignore[arg-type] # as above
    except FileExistsError:
        raise click.UsageError(f"{out} is there already: name another file") from None
    except OSError as error:
        raise click.UsageError(f"cannot write {out}: {error.strerror}") from None
    click.echo(f"{out}: {lines} lines", err=True)
