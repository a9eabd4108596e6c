"""`cans demo`."""

from pathlib import Path

import click

from cans.settings import Command
from cans.shared_options import broker_address

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("demo", cls=Command)
@click.option(
    "--model",
    default="mobilenet_v2",
    help="Any network that classifies frames: see `cans partition --help` for how to write one.",
)
@click.option("--frames", type=click.IntRange(min=2), default=150, help="Frames for each device and policy.")
@click.option("--seed", default=11, help="Seed of the frames.")
@click.option("--report", type=_FILE, help="JSON file to write the figures to.")
@click.option("--figure", type=_FILE, default=Path("out/demo.png"), help="PNG file to write.")
@click.option(
    "--logs",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/demo-logs"),
    help="Folder for the logs of all processes.",
)
@click.option("--live/--no-live", default=True, help="Draw what happens while it happens.")
@click.option(
    "--broker",
    envvar="CANS_DEMO_BROKER",
    metavar="URL",
    help="Use this broker, mqtt://[user@]host[:port]; one of its own when not given.",
)
@click.option(
    "--prefix",
    envvar="CANS_DEMO_PREFIX",
    help="First levels of every topic; cans/demo- and random letters when not given, so that somebody else's "
    "devices on your broker are not counted.",
)
def demo(
    *,
    model: str,
    frames: int,
    seed: int,
    report: Path | None,
    figure: Path,
    logs: Path,
    live: bool,
    broker: str | None,
    prefix: str | None,
) -> None:
    """Watch four devices of two types learn together where to cut a network.

    Starts everything as processes on this machine: a broker, an edge worker, an aggregator and four devices.
    That the devices are slower than this machine, and their links slower than loopback, is emulated; the
    weights are seeded. Fixed policies play the same frames in turns, for comparison. Takes some minutes;
    Ctrl-C ends everything.

    \b
    Examples:
      cans demo
      cans demo --frames 200 --seed 11 --no-live --report report.json
      cans demo --model mypackage.models:classifier@160x160
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    from cans.demo.plan import DemoSettings  # noqa: PLC0415
    from cans.demo.run import run_demo  # noqa: PLC0415 - see cans/commands/__init__.py
    from cans.logs import configure_logs  # noqa: PLC0415
    from cans.running import run  # noqa: PLC0415

    configure_logs(level="warning")
    settings = DemoSettings(
        model=model,
        frames=frames,
        seed=seed,
        report=report,
        figure=figure,
        logs=logs,
        live=live,
        broker=broker_address(broker) if broker else None,
        prefix=prefix,
    )
    run(lambda: run_demo(settings))
