"""`cans aggregator inspect`."""

import sys
from pathlib import Path
from typing import Any

import click

from cans.settings import Command
from cans.shared_options import broker_address, broker_options


@click.command(
    "inspect",
    cls=Command,
    epilog="Settings: flags, then environment, then, for the broker's address, the section [broker] of the "
    "file.\n\nExit codes: 0 done, 1 failed while running, 2 a setting cannot work or there is no group yet, "
    "130 Ctrl-C.",
)
@click.option("--type", "type_", metavar="TYPE", help="This device type only.")
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Read an aggregator's folder instead of a broker; it may be running.",
)
@click.option("--json", "one_line", is_flag=True, help="One JSON object a line, for programs.")
@click.option(
    "--quiet-s",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    help="Seconds without a further message after which the broker has said everything.",
)
@broker_options
def inspect(
    *,
    type_: str | None,
    state_dir: Path | None,
    one_line: bool,
    quiet_s: float,
    prefix: str,
    **broker: Any,  # noqa: ANN401 - the broker options, passed on whole
) -> None:
    """Say in words what each group knows.

    Speed of the devices, of the edge worker and of the link, and what waiting costs, each with a 95 %
    interval; "not known" where the group has no data. It only reads.

    \b
    Examples:
      cans aggregator inspect
      cans aggregator inspect --type pi4 --json | jq .device_ms
      cans aggregator inspect --state-dir state/aggregator
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    from cans.inspect_groups import retained, saved, show  # noqa: PLC0415 - see cans/commands/__init__.py
    from cans.running import run  # noqa: PLC0415

    if state_dir is not None:
        show(saved(state_dir, type_), sys.stdout, one_line=one_line)
        return
    address = broker_address(**broker)
    found = run(lambda: retained(address, prefix, type_, quiet_s))
    show(found or [], sys.stdout, one_line=one_line)
