"""`cans traces`."""

from typing import Any

import click

from cans.settings import Command
from cans.shared_options import broker_address, broker_options


@click.command("traces", cls=Command)
@click.option(
    "--endpoint",
    default="http://127.0.0.1:4318",
    metavar="URL",
    help="OTLP collector, over HTTP; or console, to print.",
)
@click.option(
    "--sample",
    type=click.FloatRange(0.0, 1.0),
    default=0.01,
    help="Share of the frames that are told; all policies of a frame together.",
)
@broker_options
def traces(
    *,
    endpoint: str,
    sample: float,
    prefix: str,
    **broker: Any,  # noqa: ANN401 - the broker options, passed on whole
) -> None:
    """Tell an OpenTelemetry collector of frames, until Ctrl-C.

    One trace a frame, device to edge worker and back, with its stages. One process for a site; it only
    listens, so devices and edge workers do nothing for it. Needs pip install 'cans[tracing]'.

    \b
    Examples:
      cans traces --broker mqtt://broker.local --endpoint http://collector.local:4318
      cans traces --endpoint console --sample 1
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    try:
        from cans.traces import TracesSettings, run_traces  # noqa: PLC0415 - see cans/commands/__init__.py
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"traces need {error.name}, which is not here: pip install 'cans[tracing]'"
        ) from None
    from cans.running import run  # noqa: PLC0415

    settings = TracesSettings(
        broker=broker_address(**broker), prefix=prefix, endpoint=endpoint, sample=sample
    )
    click.echo(f"traces: {100.0 * sample:g} % of the frames, to {endpoint}", err=True)
    run(lambda: run_traces(settings))
