"""A grid from its command: every cell has its results, the sum of all says where the default loses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

_HERE = Path(__file__).parents[2]
_EXPERIMENT = """
title = "A <small> grid"
asks = "Who wins?"
seeds = 3
settle_frames = 4
[world]
network = "mobilenet_v2"
frames = 8
[[world.types]]
name = "phone"
slowness = 8.0
link = { kind = "constant", mbit_s = 8.0 }
[policies.default]
[policies.ans]
[policies.device_only]
[policies.two_arm]
[grid.edge.idle]
[grid.edge.loaded]
world.changes = [{ what = "queue", wait_ms = 200.0 }]
[grid.link."1 Mbit/s"]
world.types.0.link.mbit_s = 1.0
[grid.link."50 Mbit/s"]
world.types.0.link.mbit_s = 50.0
"""
_FOLDERS = ["idle,1-mbit-s", "idle,50-mbit-s", "loaded,1-mbit-s", "loaded,50-mbit-s"]


def run(folder: Path, *more: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    (folder / "grid.toml").write_text(_EXPERIMENT)
    command = [sys.executable, "-m", "cans", "simulate", str(folder / "grid.toml"), "--processes", "1"]
    done = subprocess.run(
        [*command, "--quiet", "--out", str(folder / "out"), *more],
        cwd=_HERE, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done


def test_cells_are_played_summed_up_and_not_played_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "2 cells" in run(tmp_path, "--cells", "edge=idle").stdout
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    assert len(kept) == 2 * 4 * 3
    run(tmp_path, "--page", str(tmp_path / "grid.md"))
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert sorted(path.name for path in (out / "cells").iterdir()) == _FOLDERS
    summary = json.loads((out / "summary.json").read_text())
    assert list(summary["cells"]) == _FOLDERS
    assert sum(summary["verdicts"].values()) == 4
    means = []
    for name in _FOLDERS:
        own = json.loads((out / "cells" / name / "summary.json").read_text())
        assert own["policies"] == summary["cells"][name]["policies"]
        means.append(own["policies"]["two_arm"]["mean_ms"]["mean"])
    assert means[0] > means[1]  # a slower link
    assert means[3] > means[1]  # a loaded edge
    html = (out / "report.html").read_text()
    assert "A &lt;small&gt; grid" in html
    assert "<script" not in html
    assert html.count('<th scope="row">') == 4
    page = (tmp_path / "grid.md").read_text()
    assert page.count("\n| idle |") == page.count("\n| loaded |") == 2
    assert (tmp_path / "grid-map.png").stat().st_size > 0


def test_a_cell_that_a_testbed_would_play_without_its_load_is_refused(tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_text(_EXPERIMENT)
    command = [
        sys.executable,
        "-m",
        "cans",
        "testbed",
        str(tmp_path / "grid.toml"),
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, cwd=_HERE, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "the cell edge=loaded,link=1 Mbit/s has world.changes" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_wrong_cell_is_one_sentence(tmp_path: Path) -> None:
    wrong = run(tmp_path, "--cells", "edge=lodaed", code=2)
    assert wrong.stderr.endswith("edge has no value 'lodaed': did you mean 'loaded'?\n")
    assert wrong.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
