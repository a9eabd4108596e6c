"""What one process does at a time: one run, or several that go together, of one policy or of one seed.

Which engine plays changes no result, so it is no part of a run's fingerprint; each file says it beside.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Literal

import msgspec

from bus.errors import ConfigurationError
from lab.simulator import spec
from lab.simulator.batch.engine import play_many
from lab.simulator.batch.scope import why_plain
from lab.simulator.jobs import Job, do_beside, parquet, put

_ROUNDS_AT_ONCE = 4_000_000  # 32 bytes each, until they are written


class Unit(msgspec.Struct, frozen=True):
    """Jobs in one world, done together: of one policy, or of one seed."""

    jobs: tuple[Job, ...]
    engine: Literal["plain", "batched"]


def units_by_seed(jobs: Sequence[Job]) -> list[Unit]:
    """Put together what plays the same turns: for grids, whose cells keep all processes busy anyway."""
    units: dict[tuple[int, spec.World], list[Job]] = {}
    for job in jobs:
        units.setdefault((job.seed, job.world), []).append(job)
    return [Unit(tuple(together), "plain") for together in units.values()]


def units_of(jobs: Sequence[Job], engine: spec.Engine, processes: int) -> list[Unit]:
    """Divide jobs, so that all processes have something to do and not too many are lost if one is killed.

    Raises:
        ConfigurationError: `engine` is "batched", and a policy has no batched form.
    """
    units = [
        unit
        for _, group in groupby(sorted(jobs, key=lambda job: job.policy), key=lambda job: job.policy)
        for unit in _units_of_policy(list(group), engine, processes)
    ]
    place = {job.path: i for i, job in enumerate(jobs)}
    return sorted(units, key=lambda unit: place[unit.jobs[0].path])


def _units_of_policy(jobs: Sequence[Job], engine: spec.Engine, processes: int) -> Iterator[Unit]:
    first = jobs[0]
    why = why_plain(first.learner, first.world)
    if engine == "batched" and why is not None:
        raise ConfigurationError(f"policies.{first.policy}: {why}: say engine = 'auto'")
    if engine == "plain" or why is not None or not isinstance(first.world, spec.Site):
        yield from (Unit((job,), "plain") for job in jobs)
        return
    rounds = first.world.frames * sum(kind.devices for kind in first.world.types)
    size = max(1, min(-(-len(jobs) // processes), _ROUNDS_AT_ONCE // rounds))
    for start in range(0, len(jobs), size):
        yield Unit(tuple(jobs[start : start + size]), "batched")


def do_unit(unit: bytes) -> None:
    """Do the jobs of one unit, given as the JSON of a `Unit`.

    Raises:
        ConfigurationError: a policy cannot play where it should.
    """
    asked = msgspec.json.decode(unit, type=Unit)
    first = asked.jobs[0]
    if asked.engine == "plain" or not isinstance(first.world, spec.Site):
        do_beside(asked.jobs)
        return
    runs = play_many(first.learner, first.world, [job.seed for job in asked.jobs])
    for job, run in zip(asked.jobs, runs, strict=True):
        put(parquet(run, job, engine="batched"), job)
