"""`cans watch`."""

import sys
from typing import Any

import click

from cans.settings import Command
from cans.shared_options import broker_address, broker_options


@click.command("watch", cls=Command)
@click.argument("filters", metavar="[FILTER]...", nargs=-1)
@click.option("--json", "one_line", is_flag=True, help="One JSON object a line, for programs.")
@click.option("--count", type=click.IntRange(min=1), help="Stop after so many messages.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after so many seconds.")
@broker_options
def watch(
    filters: tuple[str, ...],
    *,
    one_line: bool,
    count: int | None,
    seconds: float | None,
    prefix: str,
    **broker: Any,  # noqa: ANN401 - the broker options, passed on whole
) -> None:
    """Print what is on the bus.

    FILTER is an MQTT topic filter; without one you see every topic but those that carry tensors.
    msgpack is decoded, and tensors are named, not dumped.

    \b
    Examples:
      cans watch
      cans watch 'cans/v1/feedback/#' --json | jq .data.total_ms
      cans watch 'cans/v1/groups/#' --count 1
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    from cans.running import run  # noqa: PLC0415 - see cans/commands/__init__.py
    from cans.watch import WatchSettings, watch  # noqa: PLC0415

    settings = WatchSettings(broker_address(**broker), filters, prefix, one_line, count, seconds)
    run(lambda: watch(settings, sys.stdout))
