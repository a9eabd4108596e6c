"""`cans dashboard`."""

from pathlib import Path
from typing import Any

import click

from cans.settings import Command
from cans.shared_options import broker_address, broker_options


@click.command("dashboard", cls=Command)
@click.option(
    "--recording",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Show this file of cans record instead of a live site, with a slider over its time.",
)
@click.option(
    "--host", default="127.0.0.1", help="Address that answers browsers; loopback unless you say otherwise."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, help="Port that answers; 0 for a free one."
)
@click.option(
    "--token",
    default="",
    help="What a browser must bring: 16 letters and digits or more; drawn where HOST is not loopback.",
)
@broker_options
def dashboard(
    *,
    recording: Path | None,
    host: str,
    port: int,
    token: str,
    prefix: str,
    **broker: Any,  # noqa: ANN401 - the broker options, passed on whole
) -> None:
    """Show the site in a browser, until Ctrl-C: http://HOST:PORT/.

    Who is there, what each device plays and why, what groups have learned, lines and refusals of edge
    workers, alarms, the broker. It only listens. Needs pip install 'cans[dashboard]'.

    \b
    Examples:
      cans dashboard --broker mqtt://broker.local
      cans dashboard --recording site.mcap
      cans dashboard --host 0.0.0.0   # prints an address with a token; plain HTTP: in your own network only
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    try:
        from cans.dashboard.serving import DashboardSettings, run_dashboard  # noqa: PLC0415 - see cans/commands/__init__.py
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"the dashboard needs {error.name}, which is not here: pip install 'cans[dashboard]'"
        ) from None
    from cans.running import run  # noqa: PLC0415

    settings = DashboardSettings(
        broker=broker_address(**broker), prefix=prefix, recording=recording, host=host, port=port, token=token
    )
    run(lambda: run_dashboard(settings, lambda where: click.echo(f"dashboard: {where}", err=True)))
