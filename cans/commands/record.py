"""`cans record`."""

import sys
from pathlib import Path
from typing import Any

import click

from cans.settings import Command
from cans.shared_options import broker_address, broker_options


@click.command("record", cls=Command)
@click.argument("filters", metavar="[FILTER]...", nargs=-1)
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write; cans-DATE-TIME.mcap when not given. One that is there is never overwritten.",
)
@click.option(
    "--max-size",
    "most_mb",
    type=click.FloatRange(min=0, min_open=True),
    help="End when the file has so many megabytes; or begin another one, with --rotate.",
)
@click.option("--rotate", is_flag=True, help="With --max-size: go on in NAME-0002.mcap, and so on.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="End after so many seconds.")
@click.option("--quiet", is_flag=True, help="Say nothing while recording.")
@broker_options
def record(
    filters: tuple[str, ...],
    *,
    out: Path | None,
    most_mb: float | None,
    rotate: bool,
    seconds: float | None,
    quiet: bool,
    prefix: str,
    **broker: Any,  # noqa: ANN401 - the broker options, passed on whole
) -> None:
    """Record what is on the bus, until Ctrl-C.

    FILTER is an MQTT topic filter; without one everything below the prefix is recorded, activations too.
    Retained messages come first. What may be missing is noted where it would be: the connection was away, or
    messages came faster than they could be taken. The file is MCAP: see `cans recording`, or any tool for it.
    A kill -9 costs half a second of it.

    \b
    Examples:
      cans record
      cans record 'cans/v1/feedback/#' 'cans/v1/groups/#' -o night.mcap
      cans record -o site.mcap --max-size 1000 --rotate
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    from cans.recording.record_view import record_and_tell  # noqa: PLC0415 - see cans/commands/__init__.py
    from cans.recording.recorder import RecordSettings, default_name  # noqa: PLC0415
    from cans.running import run  # noqa: PLC0415
    from cans.version import __version__  # noqa: PLC0415

    settings = RecordSettings(
        broker=broker_address(**broker),
        out=out or default_name(),
        filters=filters,
        prefix=prefix,
        most_bytes=None if most_mb is None else round(most_mb * 1e6),
        rotate=rotate,
        seconds=seconds,
        version=__version__,
    )
    run(lambda: record_and_tell(settings, sys.stderr, quiet=quiet))
