"""What-if against what was really measured: one round of a real site, two devices, a tiny network."""

import subprocess
import sys
from pathlib import Path

import pytest

from lab.whatif.coverage import Covered, lines_of
from lab.whatif.estimate import Estimate
from tests.support.broker import need_mosquitto


def test_a_round_is_played_recorded_and_counted_and_is_not_played_twice(tmp_path: Path) -> None:
    need_mosquitto()
    page = tmp_path / "page.md"
    command = [
        *(sys.executable, "-m", "lab.whatif.played", str(tmp_path / "out"), "--rounds", "1"),
        *("--devices", "2", "--frames", "60", "--share", "0.9", "--slowness", "2"),
        *("--network", "tests.support.tiny_network:make", "--arms", "0/jpeg,0/uint8", "--page", str(page)),
    ]
    first = subprocess.run(command, check=False, capture_output=True, text=True)
    assert first.returncode in {0, 1}, first.stderr  # two runs do not say how often intervals hold
    rows = [line.split(" | ") for line in first.stdout.splitlines() if line.startswith(("| still", "| 20"))]
    assert [row[1] for row in rows] == ["end/none", "0/jpeg", "0/uint8"] * 2
    assert sum(int(row[2]) for row in rows) >= 4  # most of them were drawn often enough
    table = first.stdout[first.stdout.index("| link ") :]
    assert table in page.read_text()
    again = subprocess.run(command, check=False, capture_output=True, text=True)
    assert again.stdout == table
    assert "round" not in again.stderr


@pytest.mark.parametrize(("held", "well"), [(90, True), (89, False)])
def test_intervals_hold_what_is_true_in_nine_of_ten_runs_or_say_so(held: int, *, well: bool) -> None:
    arm = Covered()
    for number in range(100):
        near = Estimate(1.0, 0.5, 1.5 if number < held else 0.9)
        arm.take(1.0, 1.1, near, near)
    assert arm.holds is well
    arm.take(1.0, 1.1, None, None)  # too few frames match: nothing is claimed
    assert arm.holds is well
    assert f"{held} ({held} %)" in next(line for line in lines_of({"a link": {"0/x": arm}}) if "0/x" in line)
