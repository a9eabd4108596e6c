"""`cans testbed`."""

import shlex
import sys
from pathlib import Path

import click

from bus.errors import ConfigurationError
from cans.settings import Command


@click.command("testbed", cls=Command)
@click.argument("experiment", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of results and logs; out/testbed/NAME when not given.",
)
@click.option("--seeds", type=click.IntRange(min=1), help="Repetitions; the experiment's own when not given.")
@click.option("--policies", default="", help="Names, comma separated; all of the experiment when not given.")
@click.option(
    "--traces",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of recorded links, files second,mbit_per_s as NAME.csv, in place of generated ones.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one key of the experiment, such as world.frames=40; may be repeated.",
)
@click.option(
    "--mode",
    type=click.Choice(["portable", "netns", "hardware"]),
    default="portable",
    help="portable: links shaped by a proxy, devices slowed by sleeping. netns, as root on Linux: a "
    "network namespace a device, links shaped by the kernel, devices slowed by CPU quotas "
    "(`cans doctor testbed` says whether it works). hardware: devices of --inventory, on which somebody has "
    "started `cans device --lab`, over the links that they have.",
)
@click.option(
    "--inventory",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --mode hardware: TOML file of broker and devices (docs/hardware.md).",
)
@click.option("--broker", metavar="URL", help="With --mode hardware: the broker, instead of the inventory's.")
@click.option("--resume", is_flag=True, help="Go on with the repetitions that --out does not hold yet.")
@click.option(
    "--page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write tables and figures as a Markdown page too.",
)
@click.option(
    "--cells",
    multiple=True,
    metavar="PATTERN",
    help="Of an experiment with a [grid]: the cells to play, such as 'link=1 Mbit/s,edge=idle', where a "
    "value may hold * and ?; all when not given; may be repeated.",
)
@click.option("--quiet", is_flag=True, help="No progress bar.")
def testbed(
    *,
    experiment: Path,
    out: Path | None,
    seeds: int | None,
    policies: str,
    traces: Path | None,
    overrides: tuple[str, ...],
    mode: str,
    inventory: Path | None,
    broker: str | None,
    resume: bool,
    page: Path | None,
    cells: tuple[str, ...],
    quiet: bool,
) -> None:
    """Play an experiment for real: processes, a broker, shaped links, policies in turns.

    EXPERIMENT is a TOML file such as those in lab/experiments, with a section [testbed]. A whole site is
    started on this machine and ended again: broker, links, edge worker, aggregator, devices. Every policy
    plays the same frames at the same moments of the same links, in short blocks whose order is balanced. That
    devices are slower than this machine, and links slower than loopback, is emulated, and said so.

    What comes out is predicted by simulation first. An interrupted run goes on with --resume, repetition by
    repetition. Leave the machine alone meanwhile: a block beside which it was slow is played again.

    Of a file with a section [grid] every cell is played, each into a folder of its own beneath DIR/cells, and
    summary.json, report.html and map.png say where the default wins and where it loses.

    \b
    What lands in the folder:
      report.html            what came out, for somebody who doubts; needs nothing else
      summary.json           latency, agreement, bytes: mean and 95 % interval, as `cans simulate` writes it
      rounds/seed-N.json     every frame
      profile.json           this machine, measured before
      predicted/             what the simulator said before
      logs/                  of every process

    \b
    Examples:
      cans testbed lab/experiments/headline.toml --out out/headline
      cans testbed lab/experiments/headline.toml --out out/quick --seeds 2 --policies default,ans,two_arm
      sudo cans testbed lab/experiments/headline.toml --mode netns --out out/headline-netns
      cans testbed lab/experiments/headline.toml --mode hardware --inventory boards.toml --out out/boards
      cans compare out/headline --against ans
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    from rich.console import Console  # noqa: PLC0415 - see cans/commands/__init__.py

    from cans.logs import configure_logs  # noqa: PLC0415
    from cans.running import run  # noqa: PLC0415
    from cans.simulate import table_of  # noqa: PLC0415
    from cans.testbed.inventory import read_inventory  # noqa: PLC0415
    from cans.testbed.run import run_testbed  # noqa: PLC0415
    from cans.testbed.settings import TestbedSettings  # noqa: PLC0415
    from lab.simulator.experiment import axes_in  # noqa: PLC0415

    if (mode == "hardware") != (inventory is not None):
        raise ConfigurationError("--mode hardware and --inventory FILE go together: give both or neither")
    if broker is not None and inventory is None:
        raise ConfigurationError(
            "--broker is for --mode hardware: the other modes start a broker of their own"
        )
    configure_logs(level="warning")
    settings = TestbedSettings(
        experiment,
        out or Path("out", "testbed", experiment.stem),
        seeds,
        tuple(name for name in policies.split(",") if name),
        traces,
        overrides,
        mode,
        resume,
        quiet,
        page,
        shlex.join(["cans", *sys.argv[1:]]),
        read_inventory(inventory, broker) if inventory is not None else None,
    )
    console = Console(width=None if sys.stdout.isatty() else 170)
    if cells or axes_in(experiment):
        from cans.grid_report import table_of as table_of_grid  # noqa: PLC0415 - matplotlib
        from cans.testbed.grid import run_grid  # noqa: PLC0415 - as above

        played = run(lambda: run_grid(settings, cells))
        if played is not None:
            console.print(table_of_grid(played))
            click.echo(f"{settings.out}: report.html, map.png, summary.json, cells")
        return
    report = run(lambda: run_testbed(settings))
    if report is None:
        return
    console.print(table_of(str(report["provenance"]["title"]), report))
    click.echo(f"{settings.out}: report.html, summary.json, rounds, logs")
