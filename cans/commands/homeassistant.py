"""`cans homeassistant`."""

from typing import Any

import click

from cans.settings import Command
from cans.shared_options import broker_address, broker_options, log_options


@click.command("homeassistant", cls=Command)
@click.option(
    "--discovery-prefix",
    default="homeassistant",
    help="Home Assistant's own, as its MQTT integration has it.",
)
@click.option(
    "--expires-s",
    type=click.IntRange(min=1),
    default=60,
    help="Readings older than that are unavailable there.",
)
@broker_options
@log_options
def homeassistant(
    *,
    discovery_prefix: str,
    expires_s: int,
    prefix: str,
    log_format: str,
    log_level: str,
    **broker: Any,  # noqa: ANN401 - the broker options, passed on whole
) -> None:
    """Let Home Assistant show the site by itself, until Ctrl-C.

    Every device, edge worker, aggregator and group becomes a device there, by MQTT discovery: latency, cut,
    who answered, load, waits, what a group knows, and whether it is there; alarms are events. Home Assistant
    reads the site's own topics, so only discovery messages and alarms are published, below its prefix: the
    user needs leave to write there. What it has announced stays behind Ctrl-C, so that nothing is forgotten
    there when this is restarted; remove an entry for good with `mosquitto_pub -r -n -t TOPIC`.

    \b
    Examples:
      cans homeassistant
      cans homeassistant --broker mqtt://homeassistant.local --expires-s 300
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    from cans.home_assistant.bridge import BridgeSettings, run_bridge  # noqa: PLC0415 - see cans/commands/__init__.py
    from cans.logs import configure_logs  # noqa: PLC0415
    from cans.running import run  # noqa: PLC0415

    configure_logs(style=log_format, level=log_level)
    settings = BridgeSettings(
        broker=broker_address(**broker), prefix=prefix, discovery_prefix=discovery_prefix, expires_s=expires_s
    )
    click.echo(f"homeassistant: announces {prefix}/# below {discovery_prefix}/", err=True)
    run(lambda: run_bridge(settings))
