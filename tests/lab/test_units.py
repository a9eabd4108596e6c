"""Which runs go together, and that their files do not depend on it."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from bus.errors import ConfigurationError
from cans.simulate import SimulateSettings, simulate
from lab.simulator import units
from lab.simulator.experiment import load
from lab.simulator.jobs import Job, jobs_of, read
from lab.simulator.pool import do_all
from lab.simulator.runs import Run
from lab.simulator.units import units_by_seed, units_of

ORDERING = Path("lab/experiments/ordering.toml")
TRACES = Path("lab/experiments/traces.toml")


def jobs(out: Path, *overrides: str) -> list[Job]:
    said = ["world.frames=12", "seeds=3", "policies.linucb_w.view=strict", *overrides]
    return jobs_of(load(ORDERING, overrides=said, only=["linucb", "linucb_w", "oracle"]), out)


def test_seeds_of_a_policy_go_together_where_they_can(tmp_path: Path) -> None:
    def divided(engine: str, processes: int) -> list[tuple[str, str, list[int]]]:
        found = units_of(jobs(tmp_path), engine, processes)  # type: ignore[arg-type]
        return [(unit.jobs[0].policy, unit.engine, [job.seed for job in unit.jobs]) for unit in found]

    assert divided("auto", 2) == [
        ("linucb", "batched", [1000, 1001]),
        ("linucb_w", "plain", [1000]),
        ("oracle", "batched", [1000, 1001]),
        ("linucb_w", "plain", [1001]),
        ("linucb", "batched", [1002]),
        ("linucb_w", "plain", [1002]),
        ("oracle", "batched", [1002]),
    ]
    assert {(engine, len(seeds)) for _, engine, seeds in divided("plain", 1)} == {("plain", 1)}
    with pytest.raises(ConfigurationError, match=r"policies.linucb_w: view = 'strict' has no batched form"):
        units_of(jobs(tmp_path), "batched", 1)


def test_long_runs_are_done_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "_ROUNDS_AT_ONCE", 100)
    assert all(len(unit.jobs) == 1 for unit in units_of(jobs(tmp_path), "auto", 1))


def test_files_are_the_same_whichever_engine_plays(tmp_path: Path) -> None:
    plain, auto = jobs(tmp_path / "plain"), jobs(tmp_path / "auto")
    ended: list[Job] = []
    do_all(units_of(plain, "plain", 1), 1, ended.append)
    do_all(units_of(auto, "auto", 1), 1, ended.append)
    assert {job.path for job in ended} == {job.path for job in (*plain, *auto)}
    for one, other in zip(plain, auto, strict=True):
        assert one.fingerprint == other.fingerprint
        assert other.done
        assert (one.engine, other.engine) == ("plain", "plain" if one.policy == "linucb_w" else "batched")
        first, second = read(one), read(other)
        for field in dataclasses.fields(Run):
            assert np.array_equal(getattr(first, field.name), getattr(second, field.name))


def test_policies_of_a_seed_share_its_turns_and_their_files_are_the_same(tmp_path: Path) -> None:
    def made(folder: str) -> list[Job]:
        said = ["world.frames=12", "seeds=2", "policies.fedlinucb.world.frames=9"]
        names = ["default", "ans", "two_arm", "best_fixed", "fedlinucb"]
        return jobs_of(load(TRACES, overrides=said, only=names), tmp_path / folder)

    alone, beside = made("alone"), made("beside")
    together = units_by_seed(beside)
    assert [sorted(job.policy for job in unit.jobs) for unit in together] == [
        ["ans", "best_fixed", "default", "two_arm"],
        ["fedlinucb"],  # in a world of its own
    ] * 2
    do_all(units_of(alone, "plain", 1), 1, lambda _: None)
    do_all(together, 1, lambda _: None)
    for one, other in zip(alone, beside, strict=True):
        assert other.done
        first, second = read(one), read(other)
        for field in dataclasses.fields(Run):
            assert np.array_equal(getattr(first, field.name), getattr(second, field.name))


def test_the_batched_engine_does_not_go_over_a_cluster(tmp_path: Path) -> None:
    settings = SimulateSettings(
        ORDERING, tmp_path, 1, ("oracle",), None, ("engine=batched",), cluster="tcp://127.0.0.1:1", quiet=True
    )
    with pytest.raises(ConfigurationError, match="say 'auto' with --cluster"):
        simulate(settings)


def test_a_summary_says_which_engine_played(tmp_path: Path) -> None:
    overrides = ("world.frames=4", "policies.linucb_w.view=strict")
    settings = SimulateSettings(ORDERING, tmp_path, 2, ("linucb", "linucb_w"), None, overrides, quiet=True)
    engines = simulate(settings)["provenance"]["engines"]
    assert engines == {"linucb": ["batched"], "linucb_w": ["plain"]}
