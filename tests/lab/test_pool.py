"""Jobs over processes: what becomes of workers and files when somebody ends a run before it is through."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lab.simulator.experiment import load
from lab.simulator.jobs import jobs_of, sweep
from lab.simulator.pool import do_all
from lab.simulator.units import Unit, units_of

REFERENCE = Path("lab/experiments/reference.toml")


def test_what_killed_runs_left_half_written_is_removed_and_what_is_being_written_stays(
    tmp_path: Path,
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    folder = tmp_path / "rounds" / "linucb.v2"
    folder.mkdir(parents=True)
    stale = [folder / f"seed-001000.{ended.pid}.part", folder / "seed-001001.part"]
    kept = [folder / f"seed-001002.{os.getpid()}.part", folder / "seed-001003.parquet"]
    for path in (*stale, *kept):
        path.write_bytes(b"PAR1")
    sweep(tmp_path)
    assert sorted(folder.iterdir()) == kept


LONG = load(REFERENCE, overrides=["world.rounds=10000000", "seeds=4"], only=["fedlinucb_m15"])


def test_ctrl_c_while_jobs_are_handed_out_does_not_wait_for_them(tmp_path: Path) -> None:
    class Interrupted(list[Unit]):
        def __iter__(self) -> Iterator[Unit]:
            yield from super().__iter__()
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        do_all(Interrupted(units_of(jobs_of(LONG, tmp_path), "auto", 2)), 2, lambda job: None)
    assert time.monotonic() - began < 60.0  # one job takes an hour
    assert not multiprocessing.active_children()


@pytest.mark.system
@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_parent_that_is_killed(tmp_path: Path, by: signal.Signals) -> None:
    command = [
        sys.executable, "-m", "cans", "simulate", str(REFERENCE), "--seeds", "4", "--policies",
        "fedlinucb_m15", "--set", "world.rounds=10000000", "--processes", "2", "--quiet",
        "--out", str(tmp_path),
    ]  # fmt: skip
    parent = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    workers: list[psutil.Process] = []
    # Both have begun to play when they have used up seconds of a processor.
    while len(workers) < 2 or any(sum(worker.cpu_times()[:2]) < 2.0 for worker in workers):
        assert parent.poll() is None
        assert time.monotonic() < deadline
        workers = [child for child in parent.children() if "spawn_main" in " ".join(child.cmdline())]
        time.sleep(0.05)
    parent.send_signal(by)
    parent.wait(30)
    assert psutil.wait_procs(workers, timeout=30)[1] == []
