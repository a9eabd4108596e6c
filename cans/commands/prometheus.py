"""`cans prometheus`."""

from typing import Any

import click

from cans.settings import Command
from cans.shared_options import broker_address, broker_options


@click.command("prometheus", cls=Command)
@click.option(
    "--host", default="127.0.0.1", help="Address that answers scrapes; loopback unless you say otherwise."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9464, help="Port that answers; 0 for a free one."
)
@broker_options
def prometheus(
    *,
    host: str,
    port: int,
    prefix: str,
    **broker: Any,  # noqa: ANN401 - the broker options, passed on whole
) -> None:
    """Show the bus to Prometheus, until Ctrl-C: http://HOST:PORT/metrics.

    One for a site; it only listens. Latencies as histograms, who answered, deadlines missed and bytes sent by
    device; whether each node is there, what it says of itself, and for how long an edge worker lets wait;
    what groups know. A Grafana dashboard for it is in docs/grafana/.

    \b
    Example:
      cans prometheus --broker mqtt://broker.local
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    from cans.exporter import ExporterSettings, run_exporter  # noqa: PLC0415 - see cans/commands/__init__.py
    from cans.running import run  # noqa: PLC0415

    settings = ExporterSettings(broker=broker_address(**broker), prefix=prefix, host=host, port=port)
    run(lambda: run_exporter(settings, lambda where: click.echo(f"prometheus: {where}", err=True)))
