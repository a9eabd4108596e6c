"""Runs on a Dask cluster of two workers: the same to the bit, or a sentence."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from bus.errors import ConfigurationError
from cans.__main__ import main
from lab.simulator.cluster import do_all_at
from lab.simulator.experiment import load
from lab.simulator.jobs import do_elsewhere, jobs_of

distributed = pytest.importorskip("distributed")
ORDERING = Path("lab/experiments/ordering.toml")
SMALL = [
    "--set", "world.frames=20", "--set", "engine=plain", "--seeds", "3",
    "--policies", "linucb,fedlinucb_dw,oracle", "--quiet",
]  # fmt: skip


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


def simulate(*arguments: object) -> str:
    done = CliRunner().invoke(main, ["simulate", str(ORDERING), *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.system
def test_two_workers_give_the_same_files_to_the_bit(tmp_path: Path, scheduler: str) -> None:
    simulate(*SMALL, "--out", tmp_path / "here", "--processes", "1")
    simulate(*SMALL, "--out", tmp_path / "there", "--cluster", scheduler)
    here, there = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.parquet")}
        for folder in (tmp_path / "here", tmp_path / "there")
    )
    assert len(here) == 9
    assert here == there
    one, other = (
        json.loads((tmp_path / name / "summary.json").read_text())["by_seed"] for name in ("here", "there")
    )
    assert one == other


@pytest.mark.system
def test_a_job_that_fails_there_is_the_sentence_that_it_is_here(tmp_path: Path, scheduler: str) -> None:
    traces = load(
        Path("lab/experiments/traces.toml"),
        overrides=["policies.two_arm.edge_arm=0/png", "world.frames=2"],
        only=["two_arm"],
    )
    with pytest.raises(ConfigurationError, match=r"^policies\.two_arm: there is no arm '0/png'"):
        do_all_at(scheduler, jobs_of(traces, tmp_path), lambda job: None)


def test_a_worker_refuses_what_it_would_play_differently(tmp_path: Path) -> None:
    job = jobs_of(load(ORDERING, overrides=["world.frames=2"], only=["oracle"]), tmp_path)[0]
    assert do_elsewhere(msgspec.json.encode(job))[:4] == b"PAR1"
    other = msgspec.structs.replace(job, fingerprint="that of another version")
    with pytest.raises(ConfigurationError, match="would play something else"):
        do_elsewhere(msgspec.json.encode(other))


def test_without_dask_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)  # what an import of something absent finds
    with pytest.raises(ConfigurationError, match=r"pip install 'cans\[cluster\]'"):
        do_all_at("tcp://127.0.0.1:1", [], lambda job: None)


@pytest.mark.parametrize("address", ["nonsense://here", "tcp://127.0.0.1:1"])
def test_a_scheduler_that_does_not_answer_is_said(address: str) -> None:
    with pytest.raises(ConfigurationError, match="no Dask scheduler answers at"):
        do_all_at(address, [], lambda job: None, patience_s=1.0)
