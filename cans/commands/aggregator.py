"""`cans aggregator`."""

from pathlib import Path
from typing import Any

import click

from cans.commands.aggregator_inspect import inspect
from cans.commands.aggregator_restore import restore
from cans.settings import CommandWithParts, part_named
from cans.shared_options import broker_address, broker_options, log_options


@click.group("aggregator", cls=CommandWithParts)
@click.option("--id", "id_", default="aggregator-1", help="Name of this aggregator on the bus.")
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("state/aggregator"),
    help="Folder that keeps the groups; nothing is acknowledged before it is on this disk.",
)
@click.option(
    "--groups",
    type=click.Path(dir_okay=False, path_type=Path),
    help='TOML file with groups of several types: [groups.NAME] types = ["pi4", "pi5"]; the --config file '
    "when not given. A type in no group is a group of its own.",
)
@click.option(
    "--accept-unknown-types/--refuse-unknown-types", default=True, help="Types that are in no group."
)
@click.option("--regularisation", default=0.1, help="Lambda of a new group; the devices' must be the same.")
@click.option("--largest-groups", default=64, help="Groups held.")
@click.option("--largest-installs", default=1000, help="Devices of one group.")
@click.option("--device-rows", default=10_000_000, help="Rows that one device may ever add to a group.")
@click.option(
    "--guard/--no-guard",
    default=True,
    help="Keep a device out of its group whose costs differ from the others' (wrong type, false numbers).",
)
@click.option("--broadcast-s", default=0.1, help="Least seconds between two broadcasts of a group.")
@click.option("--metrics-s", default=5.0, help="Seconds between metrics messages.")
@click.option("--drain-s", default=5.0, help="Seconds that a snapshot may take when told to stop.")
@click.option("--wait-for-broker", is_flag=True, help="Wait until the broker is there, instead of ending.")
@click.option("--detail", default="", help="A sentence for people in the retained state.")
@broker_options
@log_options
@click.pass_context
def aggregator(
    ctx: click.Context,
    /,
    *,
    id_: str,
    groups: Path | None,
    log_format: str,
    log_level: str,
    **rest: Any,  # noqa: ANN401 - passed on whole
) -> None:
    """Run the aggregator: merges what devices learn, group by group.

    It takes sufficient statistics, never frames or activations, adds each upload exactly once, and broadcasts
    what a group knows to its devices. One for each bus.

    \b
    Examples:
      cans aggregator
      cans aggregator --broker mqtt://broker.local --state-dir /var/lib/cans --groups groups.toml
      cans aggregator inspect
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    if part_named(ctx):
        return
    from aggregator.runtime import run_aggregator  # noqa: PLC0415 - see cans/commands/__init__.py
    from aggregator.settings import AggregatorSettings, read_groups  # noqa: PLC0415
    from cans.logs import configure_logs  # noqa: PLC0415
    from cans.running import run  # noqa: PLC0415
    from cans.version import __version__  # noqa: PLC0415

    configure_logs(style=log_format, level=log_level)
    broker = {name: rest.pop(name) for name in ("broker", "ca", "cert", "key", "password_file")}
    file = groups or ctx.meta.get("cans.config")
    settings = AggregatorSettings(
        id=id_,
        broker=broker_address(**broker),
        groups=read_groups(file) if file else {},
        version=__version__,
        **rest,
    )
    run(lambda: run_aggregator(settings))


aggregator.add_command(inspect)
aggregator.add_command(restore)
