"""Plays what the searches want until none wants anything; runs that have their files are not played again."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lab.simulator.jobs import Job, jobs_of, read
from lab.simulator.pool import do_all
from lab.simulator.summary import figures_of, interval
from lab.simulator.units import units_of
from lab.tune.plan import Plan, experiment_at, settings_at
from lab.tune.record import Record, entry_of
from lab.tune.search import Point, descend

Figures = dict[Point, dict[str, Any]]


class Tuner:
    """The searches of some policies, side by side.

    Args:
        plan: what is tuned.
        policies: which of it.
        out: folder of the runs.
    """

    def __init__(self, plan: Plan, policies: list[str], out: Path) -> None:
        self._plan = plan
        self._out = out
        self._figures: dict[str, Figures] = {policy: {} for policy in policies}

    def wanted(self) -> list[tuple[str, Point, list[Job]]]:
        """Return the next points of all searches, each with its runs; none when all have ended."""
        return [
            (policy, point, self._jobs(policy, point))
            for policy in self._figures
            for point in self._descend(policy)[1]
        ]

    def step(self, processes: int, ended: Callable[[Job], None]) -> bool:
        """Play the next points; return whether there were any. `ended` is called after each run."""
        wanted = self.wanted()
        # Point by point: what goes together is one learner's.
        units = [
            unit
            for _, _, jobs in wanted
            for unit in units_of([job for job in jobs if not job.done], "auto", processes)
        ]
        do_all(units, min(processes, max(1, len(units))), ended)
        for policy, point, jobs in wanted:
            each = [figures_of(read(job), in_seconds=True, settle_frames=self._plan.frames) for job in jobs]
            names = ("mean_ms", "messages")
            self._figures[policy][point] = {name: interval([run[name] for run in each]) for name in names}
        return bool(wanted)

    def entries(self) -> Iterator[tuple[str, Record]]:
        """Return each policy's part of the record; call it when all searches have ended."""
        for policy, figures in self._figures.items():
            yield policy, entry_of(self._plan, policy, self._descend(policy)[0], figures)

    def _descend(self, policy: str) -> tuple[Point, list[Point]]:
        means = {point: each["mean_ms"]["mean"] for point, each in self._figures[policy].items()}
        return descend(self._plan.policies[policy], means)

    def _jobs(self, policy: str, point: Point) -> list[Job]:
        settings = settings_at(self._plan, policy, point)
        label = ",".join(f"{knob}={value}" for knob, value in settings.items()).replace("/", "-")
        return jobs_of(experiment_at(self._plan, policy, point), self._out / label)
