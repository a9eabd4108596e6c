"""Link, edge worker and broker of a testbed break as its experiment says; every frame is answered."""

import subprocess
import sys
from pathlib import Path

import pytest

from lab.testbed.coordinator import path_of, read
from lab.testbed.results import turns_of
from tests.support.broker import need_mosquitto

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]

_HERE = Path(__file__).parents[2]
# The last rounds are quiet: there whoever has come back is seen to be back.
_EXPERIMENT = """
title = "Broken"
seeds = 1
settle_frames = 4

[testbed]
model = "tests.support.tiny_network:make"
codecs = ["uint8", "jpeg", "int8-zstd"]
block_frames = 60
repeats = 0
trend_after_s = 1.0
events = [
  { what = "edge_killed", round = 0, at_s = 1.0, for_s = 0.5 },
  { what = "link_gone", round = 1, at_s = 1.0, for_s = 2.0 },
  { what = "broker_restarted", round = 2, at_s = 1.0, for_s = 0.5 },
]

[world]
frames = 300
fps = 10.0
deadline_ms = 1000.0

[[world.types]]
name = "camera"
devices = 2
link = { kind = "constant", mbit_s = 40.0, delay_ms = 1.0 }

[policies.edge_only_jpeg]
"""


def test_what_breaks_is_mended_and_no_frame_is_lost(tmp_path: Path) -> None:
    need_mosquitto()
    out = tmp_path / "out"
    (tmp_path / "broken.toml").write_text(_EXPERIMENT)
    wanted = ("testbed", str(tmp_path / "broken.toml"), "--out", str(out), "--quiet")
    done = subprocess.run(
        [sys.executable, "-m", "cans", *wanted],
        cwd=_HERE, capture_output=True, text=True, timeout=350, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    repetition = read(path_of(out, 1000))
    assert len(repetition.turns) == 2 * 5
    assert [turn.played.lost for turn in repetition.turns] == [{}] * len(repetition.turns)
    assert all(len(turn.played.rows) == 60 for turn in repetition.turns)
    sent = {turn.round: turn.played.rows for turn in turns_of(repetition, "edge_only_jpeg")}
    # Whoever sends everything has answered some himself, in each of the three, and the last not.
    for number in range(3):
        assert any(row.by != "edge" for row in sent[number]), number
    assert sent[4][-1].by == "edge"
    # A log of its own for who was started again.
    logs = out / "logs" / "site-1"
    assert sorted(each.name for each in logs.glob("edge*.log")) == ["edge-2.log", "edge.log"]
    there = {"broker", "links", "aggregator", "camera-1", "camera-2", "edge-2"}
    assert set(repetition.samples[-1].held) == there
    for log in logs.glob("*.log"):
        assert "Traceback" not in log.read_text(), log.name
    assert "knows nothing of what breaks" in (out / "report.html").read_text()
