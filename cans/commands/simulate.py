"""`cans simulate`."""

import os
import sys
from pathlib import Path

import click

from cans.settings import Command


@click.command("simulate", cls=Command)
@click.argument("experiment", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--seeds", type=click.IntRange(min=1), help="Runs of each policy; the experiment's own when not given."
)
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
    help="Change one key of the experiment, such as world.frames=100; may be repeated.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the results; out/simulate/NAME when not given.",
)
@click.option(
    "--processes",
    type=click.IntRange(min=1, max=1024),
    default=os.cpu_count() or 1,
    show_default="one a processor",
    help="Runs at a time.",
)
@click.option(
    "--page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write tables and figures as a Markdown page too.",
)
@click.option(
    "--cluster",
    default="",
    metavar="ADDRESS",
    help="Dask scheduler, such as tcp://10.0.0.1:8786, whose workers do the runs; needs cans[cluster].",
)
@click.option(
    "--cells",
    multiple=True,
    metavar="PATTERN",
    help="Of an experiment with a [grid]: the cells to play, such as 'link=1 Mbit/s,edge=idle', where a "
    "value may hold * and ?; all when not given; may be repeated.",
)
@click.option("--quiet", is_flag=True, help="No progress bar.")
def simulate(
    *,
    experiment: Path,
    seeds: int | None,
    policies: str,
    traces: Path | None,
    overrides: tuple[str, ...],
    out: Path | None,
    processes: int,
    page: Path | None,
    cluster: str,
    cells: tuple[str, ...],
    quiet: bool,
) -> None:
    """Play an experiment in virtual time.

    EXPERIMENT is a TOML file such as those in lab/experiments. Every policy meets the same frames, links
    and noise, seed by seed. A run that is interrupted goes on where it was when it is started again.

    Of a file with a section [grid] every cell is played, each into a folder of its own beneath DIR/cells, and
    summary.json, report.html and map.png say where the default wins and where it loses.

    \b
    What lands in the folder:
      summary.json                 regret, latency, messages and bytes: mean and 95 % interval
      regret.svg, latency.svg      and the same as PNG
      rounds/POLICY/seed-N.parquet every round

    \b
    Examples:
      cans simulate lab/experiments/ordering.toml
      cans simulate lab/experiments/traces.toml --traces recorded/
      cans simulate lab/experiments/reference.toml --seeds 8 --out results/reference
      cans simulate lab/experiments/traces.toml --cluster tcp://10.0.0.1:8786
      cans simulate lab/experiments/ordering.toml --set world.frames=1000 --policies linucb,fedlinucb_dw
      cans simulate lab/experiments/never_loses.toml --cells 'link=1 Mbit/s,edge=idle' --cells 'class=phone'
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    from rich.console import Console  # noqa: PLC0415 - see cans/commands/__init__.py

    from cans.simulate import SimulateSettings, simulate, table_of  # noqa: PLC0415
    from lab.simulator.experiment import axes_in  # noqa: PLC0415

    settings = SimulateSettings(
        experiment,
        out or Path("out", "simulate", experiment.stem),
        seeds,
        tuple(name for name in policies.split(",") if name),
        traces,
        overrides,
        processes,
        page,
        quiet,
        cluster,
    )
    # Not a terminal: a table for a file, where nothing is cut off.
    console = Console(width=None if sys.stdout.isatty() else 130)
    if cells or axes_in(experiment):
        from cans.grid_report import table_of as table_of_grid  # noqa: PLC0415 - matplotlib
        from cans.simulate_grid import simulate_grid  # noqa: PLC0415 - as above

        console.print(table_of_grid(simulate_grid(settings, cells)))
        click.echo(f"{settings.out}: report.html, map.png, summary.json, cells")
        return
    report = simulate(settings)
    console.print(table_of(str(report["provenance"]["title"]), report))
    click.echo(f"{settings.out}: summary.json, figures, rounds")
