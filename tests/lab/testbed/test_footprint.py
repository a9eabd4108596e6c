"""What processes hold is asked of the kernel, and written as it is known."""

import os
import subprocess
import sys
from pathlib import Path

from lab.testbed.footprint import Footprints, held_by, path_of, read
from tests.support.testbed_runs import run


def test_a_living_process_holds_something_and_one_that_is_gone_is_missing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    found = held_by({"this": os.getpid(), "gone": gone.pid})
    assert list(found) == ["this"]
    assert found["this"].resident_bytes > 1 << 20
    assert found["this"].cpu_s > 0.0


def test_samples_are_on_disk_at_once_and_a_line_cut_short_is_skipped(tmp_path: Path) -> None:
    made = run(tmp_path, seeds=1, only=("default",), overrides=("testbed.sweep=[]",))
    path = path_of(tmp_path, 1000)
    path.parent.mkdir()
    path.write_text("of a run before this one\n")
    footprints = Footprints(path, lambda: {"this": os.getpid()})
    for block in made.plan.blocks(1000):
        turns = [turn for turn in made.repetitions[0].turns if turn.round == block.round]
        footprints.take(block, turns)
        assert read(path) == footprints.samples
    assert [sample.round for sample in footprints.samples] == [0, 1]
    assert all(sample.load is not None for sample in footprints.samples)
    assert all(len(sample.answered_ms) == 2 * 5 for sample in footprints.samples)
    with path.open("ab") as file:
        file.write(b'{"at_s": 3')
    assert read(path) == footprints.samples
    footprints.done()
    footprints.done()  # nothing is left, which is what was wanted
    assert not path.exists()
