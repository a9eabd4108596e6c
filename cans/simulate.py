"""Plays an experiment in virtual time: runs what is missing, then sums up, prints and draws."""

import hashlib
import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bus.errors import ConfigurationError
from cans.versions import versions
from lab.simulator import spec
from lab.simulator.cluster import do_all_at
from lab.simulator.experiment import load
from lab.simulator.grid import Cell
from lab.simulator.jobs import Job, jobs_of, sweep, world_fingerprint
from lab.simulator.pool import do_all
from lab.simulator.report import write_page
from lab.simulator.summary import Report, summarise
from lab.simulator.units import units_by_seed, units_of

_SPREAD = ("regret", "mean_ms")  # shown with their intervals; summary.json has all


@dataclass(frozen=True, slots=True)
class SimulateSettings:
    """What `cans simulate` was told.

    Attributes:
        experiment: the TOML file.
        out: folder of the results.
        seeds: instead of the experiment's own, None for those.
        policies: names to play, all when empty.
        traces: folder of recorded links that take the place of generated ones, None for none.
        overrides: "world.frames=100".
        processes: at a time.
        page: Markdown file to write, with the figures beside it; None for none.
        quiet: no progress.
        cluster: address of a Dask scheduler whose workers do the runs; this machine's when empty.
        cell: of the experiment's grid; the experiment as it stands when empty.
    """

    experiment: Path
    out: Path
    seeds: int | None = None
    policies: tuple[str, ...] = ()
    traces: Path | None = None
    overrides: tuple[str, ...] = ()
    processes: int = 1
    page: Path | None = None
    quiet: bool = False
    cluster: str = ""
    cell: Cell = field(default_factory=dict)


def simulate(settings: SimulateSettings) -> Report:
    """Play the experiment, and return what `summary.json` holds.

    Raises:
        ConfigurationError: something in the experiment, or in what was set, cannot be, or a file cannot be
            written.
    """
    try:
        return _simulate(settings)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise ConfigurationError(f"cannot write the results{where}: {error.strerror or error}") from None


def _simulate(settings: SimulateSettings) -> Report:
    """As `simulate`, while files can be written."""
    experiment, jobs = prepared(settings)
    run_missing([jobs], settings, experiment.engine)
    report = summed_up(experiment, jobs, settings)
    from lab.simulator.figures import draw  # noqa: PLC0415 - matplotlib, not before there is something to draw

    figures = draw(experiment, jobs, report, settings.out)
    if settings.page is not None:
        write_page(experiment, report, figures, settings.page, command_of(settings))
    return report


def prepared(settings: SimulateSettings) -> tuple[spec.Experiment, list[Job]]:
    """Return what is to be played, all of it, and make the folder ready.

    Raises:
        ConfigurationError: something in the experiment cannot be.
    """
    overrides = settings.overrides
    if settings.seeds is not None:
        overrides = (*overrides, f"seeds={settings.seeds}")
    if settings.traces is not None:
        # Whole: a worker of a cluster may stand in another folder.
        overrides = (*overrides, f"world.traces={json.dumps(str(settings.traces.resolve()))}")
    experiment = load(settings.experiment, overrides=overrides, only=settings.policies, cell=settings.cell)
    jobs = jobs_of(experiment, settings.out)
    settings.out.mkdir(parents=True, exist_ok=True)
    sweep(settings.out)
    return experiment, jobs


def summed_up(experiment: spec.Experiment, jobs: list[Job], settings: SimulateSettings) -> Report:
    """Write `summary.json` of jobs that are done; return what it holds."""
    report = summarise(experiment, jobs, _provenance(experiment, settings) | {"engines": _engines(jobs)})
    unfinished = settings.out / "summary.json.part"
    unfinished.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(settings.out / "summary.json")
    return report


def command_of(settings: SimulateSettings) -> str:
    """Return the line that reproduces a page."""
    said = ["cans simulate", settings.experiment.as_posix()]
    if settings.seeds is not None:
        said.append(f"--seeds {settings.seeds}")
    if settings.policies:
        said.append(f"--policies {','.join(settings.policies)}")
    if settings.traces is not None:
        said.append("--traces DIR")
    return " ".join((*said, *(f"--set {shlex.quote(override)}" for override in settings.overrides)))


def table_of(experiment: str, report: Report) -> Table:
    """Return the summary for people."""
    rows = report["policies"]
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    said = report["provenance"]
    real = "devices and links are real" if said.get("machines") else "devices and links emulated"
    how = "all simulated" if said.get("simulated", True) else real
    table = Table(title=experiment, caption=f"mean over seeds, ± half of its 95 % interval; {how}")
    table.add_column("policy", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for policy, row in rows.items():
        table.add_row(policy, *(_cell(row.get(name), spread=name in _SPREAD) for name in names))
    return table


def _cell(value: dict[str, Any] | None, *, spread: bool) -> str:
    if value is None:
        return ""
    mean, ci95 = value["mean"], value["ci95"]
    said = f"{mean:,.0f}" if mean >= 1000.0 else f"{mean:.4g}"
    return f"{said} ± {ci95[1] - mean:.2g}" if spread and ci95 else said


def run_missing(groups: Sequence[list[Job]], settings: SimulateSettings, engine: spec.Engine) -> None:
    """Run the jobs that have no file yet, with a bar on standard error.

    Args:
        groups: jobs of one experiment each. Of one, seeds of a policy go together where they can; of several
            there is enough to do for all processes, and policies of a seed do, which draws turns once.
        settings: for all of them.
        engine: as an experiment names it.
    """
    left = [[job for job in jobs if not job.done] for jobs in groups]
    missing = [job for jobs in left for job in jobs]
    total = sum(len(jobs) for jobs in groups)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=settings.quiet,
    )
    with progress:
        bar = progress.add_task("runs", total=total, completed=total - len(missing))

        def ended(job: Job) -> None:
            progress.update(bar, advance=1, description=f"{job.policy}, seed {job.seed}")

        if settings.cluster and engine == "batched":
            raise ConfigurationError(
                "engine = 'batched' plays on this machine only: say 'auto' with --cluster"
            )
        if settings.cluster:
            do_all_at(settings.cluster, missing, ended)
        else:
            processes = min(settings.processes, max(1, len(missing)))
            several = len(groups) > 1 and engine != "batched"
            each = (units_by_seed(jobs) if several else units_of(jobs, engine, processes) for jobs in left)
            do_all([unit for units in each for unit in units], processes, ended)


def _engines(jobs: list[Job]) -> dict[str, list[str]]:
    """Return which engines have played each policy's runs."""
    engines: dict[str, set[str]] = {}
    for job in jobs:
        engines.setdefault(job.policy, set()).add(job.engine)
    return {policy: sorted(names) for policy, names in engines.items()}


def _files(traces: Path | None) -> dict[str, str]:
    """Return name and hash of each recorded link."""
    if traces is None:
        return {}
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(traces.glob("*.csv"))}


def _provenance(experiment: spec.Experiment, settings: SimulateSettings) -> dict[str, object]:
    return {
        "title": experiment.title,
        "experiment": settings.experiment.name,
        "sha256": hashlib.sha256(settings.experiment.read_bytes()).hexdigest(),
        "overrides": list(settings.overrides),
        "traces": _files(settings.traces),
        "worlds": {policy: world_fingerprint(world) for policy, world in experiment.worlds.items()},
        "settle_frames": experiment.settle_frames,
        "seeds": [experiment.first_seed, experiment.first_seed + experiment.seeds - 1],
        "simulated": True,
        "processors": os.cpu_count(),
        "versions": versions(),
    }
