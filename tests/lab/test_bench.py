"""The benchmarks' own arithmetic, and that the quick ones run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lab.bench import learning, merging, playing, simulating
from lab.bench.played_device import PlayedDevice
from lab.bench.rows import Row, alternate, median_ratio
from lab.simulator import spec
from lab.simulator.jobs import make_world


@pytest.mark.parametrize(
    ("row", "ok"),
    [
        (Row("a", 1.0, "ms"), True),
        (Row("a", 1.0, "ms", 1.0), True),
        (Row("a", 1.1, "ms", 1.0), False),
        (Row("a", 1.1, "1/s", 1.0, "least"), True),
        (Row("a", 0.9, "1/s", 1.0, "least"), False),
    ],
)
def test_a_row_keeps_its_limit_or_not(row: Row, ok: bool) -> None:
    assert row.ok is ok
    assert row.to_json() == {"name": "a", "value": row.value, "unit": row.unit, "limit": row.limit, "ok": ok}


def test_alternating_calls_each_once_a_round_and_times_all_but_the_first() -> None:
    calls: list[str] = []
    times = alternate([lambda: calls.append("a"), lambda: calls.append("b")], rounds=3, warm=1)
    assert calls == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert [len(each) for each in times] == [3, 3]
    assert median_ratio([2.0, 4.0, 100.0], [1.0, 2.0, 3.0]) == 2.0


def test_benchmarks_without_a_network_give_rows() -> None:
    for bench in (learning, merging, playing, simulating):
        rows = list(bench.run(quick=True))
        assert any(row.limit is not None for row in rows)
        assert all(row.value > 0.0 for row in rows)


def test_a_played_device_saves_uploads_and_adopts() -> None:
    device = PlayedDevice()
    site = spec.Site(frames=60, fps=2.0, types=(spec.DeviceType(name="phone", link=spec.Lte()),))
    for turn in make_world(site, 0).turns():
        device.play(turn)
    assert device.saved > 3
    assert device.merged > 3
    assert device.spent_s > 0.0


def test_the_command_writes_what_the_issue_of_a_row_says(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    done = subprocess.run(
        [sys.executable, "-m", "lab.bench", "--quick", "--only", "codecs", "--out", str(out)],
        capture_output=True,
        timeout=60,
        check=False,
    )
    rows = json.loads(out.read_text())
    assert done.returncode == (0 if all(row["ok"] for row in rows) else 1)
    assert {frozenset(row) for row in rows} == {frozenset({"name", "value", "unit", "limit", "ok"})}
