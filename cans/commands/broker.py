"""`cans broker`."""

from pathlib import Path
from typing import Literal

import click

from bus.errors import ConfigurationError
from bus.topics import DEFAULT_PREFIX
from cans.settings import Command
from cans.shared_options import log_options


@click.command("broker", cls=Command)
@click.option(
    "--mode",
    "configuration",
    type=click.Choice(["dev", "secure", "password"]),
    default="dev",
    help="dev: loopback, anonymous. secure: TLS, one client certificate for each identity, ACL. password: "
    "TLS, a passwords file in the state folder.",
)
@click.option("--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 for every network.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=1883, help="Port to listen on; 0 for any free one."
)
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for retained messages, certificates and ACL; forgotten at the end when not given.",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "mosquitto", "amqtt"]),
    default="auto",
    help="auto takes mosquitto where it is installed.",
)
@click.option(
    "--identity",
    "identities",
    multiple=True,
    metavar="ROLE/...",
    help="Make a certificate for it (secure): device/TYPE/ID, edge/ID, aggregator/ID, watcher/ID, "
    "coordinator/ID. Repeat.",
)
@click.option(
    "--server-name",
    "server_names",
    multiple=True,
    help="Name or address that clients use for this host, for its certificate. Repeat.",
)
@click.option(
    "--prefix", default=DEFAULT_PREFIX, envvar="CANS_BROKER_PREFIX", help="First levels of every topic."
)
@click.option(
    "--lab-prefix",
    metavar="PREFIX",
    help="Let a testbed play too (secure, password): below PREFIX, such as cans/testbed, a device may use "
    "any name, and coordinator/ID gives orders.",
)
@log_options
def broker(
    *,
    configuration: str,
    host: str,
    port: int,
    state_dir: Path | None,
    engine: Literal["auto", "mosquitto", "amqtt"],
    identities: tuple[str, ...],
    server_names: tuple[str, ...],
    prefix: str,
    lab_prefix: str | None,
    log_format: str,
    log_level: str,
) -> None:
    """Run an MQTT broker for everyone else.

    mosquitto where it is installed, otherwise amqtt, with a line that says what is lost. Any MQTT broker you
    already have does as well; then you need not run this.

    \b
    Examples:
      cans broker
      cans broker --mode secure --host 0.0.0.0 --port 8883 --state-dir broker \\
                  --server-name broker.local --identity device/pi4/cam-1 --identity edge/edge-1
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    from cans.broker.run import BrokerSettings, run_broker  # noqa: PLC0415 - see cans/commands/__init__.py
    from cans.logs import configure_logs  # noqa: PLC0415
    from cans.running import run  # noqa: PLC0415

    configure_logs(style=log_format, level=log_level)
    if configuration != "dev" and state_dir is None:
        raise ConfigurationError(
            f"--mode {configuration} needs --state-dir: certificates and ACL have to outlive the broker"
        )
    settings = BrokerSettings(
        config=configuration,
        host=host,
        port=port,
        state_dir=state_dir,
        engine=engine,
        identities=identities,
        server_names=server_names,
        prefix=prefix,
        lab_prefix=lab_prefix,
    )
    run(lambda: run_broker(settings))
