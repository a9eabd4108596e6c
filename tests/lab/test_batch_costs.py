"""What runs of several frames cost, for a simulated edge worker: measured by the command, read by a world."""

import subprocess
import sys
from pathlib import Path

import msgspec

from lab.batch_costs import costs_of
from lab.simulator.spec import EdgeBatch


def test_a_cut_counts_where_most_starts_found_it_and_by_their_median() -> None:
    starts = [{0: 0.1, 9: 0.5}, {0: 0.3, 9: 0.7}, {0: 0.2, 12: 4.0}]
    assert costs_of(starts) == [EdgeBatch(cut=0, fixed=0.2), EdgeBatch(cut=9, fixed=0.6)]
    assert costs_of([{}, {}]) == []


def _measure(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lab.batch_costs", *arguments, "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120.0, check=False)


def test_the_file_is_what_a_world_takes(tmp_path: Path) -> None:
    done = _measure(
        tmp_path / "batches.json", "mobilenet_v2", "--codecs", "uint8,int8-zstd", "--largest", "4"
    )
    assert done.returncode == 0, done.stderr
    found = msgspec.json.decode((tmp_path / "batches.json").read_bytes(), type=list[EdgeBatch])
    assert len({batch.cut for batch in found}) == len(found)
    assert all(batch.fixed >= 0.0 for batch in found)


def test_a_network_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    done = _measure(tmp_path / "batches.json", "no_such_network")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert not (tmp_path / "batches.json").exists()
