"""`cans recording`."""

import math
import sys
from pathlib import Path
from typing import Literal

import click

from cans.moments import Moment
from cans.settings import Command, CommandWithParts, part_named

_EPILOG = (
    "Settings: flags, then environment.\n\n"
    "Exit codes: 0 done, 1 the recording is not whole (verify) or answers differ (diff), 2 a setting cannot "
    "work or there is no such recording, 130 Ctrl-C."
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
      cans recording cut site.mcap minute.mcap --from 1:00 --to 2:00
      cans recording redact site.mcap public.mcap
      cans recording diff site.mcap again.mcap
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
    from cans.recording.contents import verify as check  # noqa: PLC0415

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
    from cans.recording.changing import repair as mend  # noqa: PLC0415

    click.echo(f"{out}: {mend(file, out)} entries")


@recording.command("cut", cls=Command, epilog=_EPILOG)
@click.argument("file", type=_FILE)
@click.argument("out", type=_FILE)
@click.option("--from", "from_s", type=Moment(), default=0.0, help="Begin there: seconds, M:SS or H:MM:SS.")
@click.option("--to", "to_s", type=Moment(), help="End there; the recording's end when not given.")
@click.option(
    "--topics",
    multiple=True,
    metavar="FILTER",
    help="Only these: an MQTT filter of topics, with or without their prefix; may be repeated.",
)
def cut(*, file: Path, out: Path, from_s: float, to_s: float | None, topics: tuple[str, ...]) -> None:
    """Write a part of FILE to OUT; what was retained where it begins comes first."""
    from cans.recording.changing import cut as write  # noqa: PLC0415

    entries = write(file, out, from_s=from_s, to_s=math.inf if to_s is None else to_s, filters=topics)
    click.echo(f"{out}: {entries} entries")


@recording.command("merge", cls=Command, epilog=_EPILOG)
@click.argument("files", type=_FILE, nargs=-1, required=True)
@click.option("-o", "--out", type=_FILE, required=True, help="File to write.")
def merge(*, files: tuple[Path, ...], out: Path) -> None:
    """Write FILES, such as those of one recording that was rotated, into one, in the order of arrival."""
    from cans.recording.changing import merge as write  # noqa: PLC0415

    click.echo(f"{out}: {write(files, out)} entries")


@recording.command("redact", cls=Command, epilog=_EPILOG)
@click.argument("file", type=_FILE)
@click.argument("out", type=_FILE)
def redact(*, file: Path, out: Path) -> None:
    """Write FILE to OUT without names, pictures, answers and sentences; types, choices and times stay.

    Says what was left out, and every text that is left: look at it before you give OUT away. Names of types,
    codecs and policies are among it, as somebody has chosen them.
    """
    from cans.recording.changing import redact as write  # noqa: PLC0415

    left = write(file, out)
    for why, count in sorted(left.left_out.items()):
        click.echo(f"left out: {count} messages {why}")
    for name, texts in sorted(left.texts.items()):
        click.echo(f"left in: {name}: {', '.join(sorted(texts))}")
    click.echo(f"{out} is written")


@recording.command("diff", cls=Command, epilog=_EPILOG)
@click.argument("first", type=_FILE)
@click.argument("second", type=_FILE)
@click.option("--json", "for_programs", is_flag=True, help="One JSON object, for programs.")
def diff(*, first: Path, second: Path, for_programs: bool) -> None:
    """Hold the answers in SECOND against those to the same requests in FIRST.

    SECOND is a recording of a replay of FIRST's requests, which an edge worker has answered for real. Exits
    with 1 where a class differs, or a request was answered in FIRST alone.
    """
    from cans.recording.diff_view import show_difference  # noqa: PLC0415

    if not show_difference(first, second, sys.stdout, as_json=for_programs):
        sys.exit(1)


@recording.command("export", cls=Command, epilog=_EPILOG)
@click.argument("file", type=_FILE)
@click.option("-o", "--out", type=_FILE, help="File to write; standard output when not given.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv", "parquet"]),
    default="jsonl",
    help="One JSON object a line, or a table with the data as JSON in its last column.",
)
def export(*, file: Path, out: Path | None, form: Literal["jsonl", "csv", "parquet"]) -> None:
    """Write FILE as lines, or as a table, that other programs read; tensors are named, not dumped."""
    from cans.recording.exporting import export as write  # noqa: PLC0415
    from cans.recording.exporting import export_parquet  # noqa: PLC0415

    if out is None:
        if form == "parquet":
            raise click.UsageError("a Parquet table is no text: name a file with -o")
        write(file, sys.stdout, form)
        return
    if out.exists():
        raise click.UsageError(f"{out} is there already: name another file")
    try:
        if form == "parquet":
            lines = export_parquet(file, out)
        else:
            with out.open("x", encoding="utf-8", newline="") as stream:
                lines = write(file, stream, form)
    except OSError as error:
        raise click.UsageError(f"cannot write {out}: {error.strerror}") from None
    click.echo(f"{out}: {lines} lines", err=True)
