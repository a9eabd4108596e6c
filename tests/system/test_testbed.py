"""A testbed from its command: a small network, two devices, every kind of policy, interrupted and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.broker import need_mosquitto

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]

_HERE = Path(__file__).parents[2]
_EXPERIMENT = """
title = "Small"
seeds = 2
settle_frames = 4

[testbed]
model = "tests.support.tiny_network:make"
codecs = ["uint8", "jpeg", "int8-zstd"]
block_frames = 2
lanes = 2

[world]
frames = 6
fps = 20.0
edge_slowness = 1.5
deadline_ms = 3000.0

[[world.types]]
name = "camera"
devices = 2
slowness = 1.5
link = { kind = "two_state", mbit_s = 40.0, bad_mbit_s = 20.0, delay_ms = 1.0 }

[policies.default]
[policies.fedlinucb]
[policies.ans]
[policies.neurosurgeon]
[policies.lin_ts]
[policies.device_only]
[policies.edge_only_jpeg]
[policies.two_arm]
[policies.best_fixed]
[policies.oracle]
"""
_PLAYED = {
    "default",
    "fedlinucb",
    "ans",
    "neurosurgeon",
    "lin_ts",
    "device_only",
    "edge_only_jpeg",
    "two_arm",
}


def _command(folder: Path, *more: str) -> list[str]:
    (folder / "small.toml").write_text(_EXPERIMENT)
    wanted = ("testbed", str(folder / "small.toml"), "--out", str(folder / "out"), "--quiet")
    return [sys.executable, "-m", "cans", *wanted, *more]


def _run(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(folder, *more), cwd=_HERE, capture_output=True, text=True, timeout=170, check=False
    )


def _summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out" / "summary.json").read_text())
    return found


def test_an_experiment_is_predicted_played_and_told(tmp_path: Path) -> None:
    need_mosquitto()
    done = _run(tmp_path)
    assert done.returncode == 0, done.stderr
    report = _summary(tmp_path)
    assert set(report["policies"]) == _PLAYED | {"best_fixed", "oracle"}
    for policy in _PLAYED:
        figures = report["policies"][policy]
        assert figures["answered"]["mean"] == 1.0, policy
        assert figures["mean_ms"]["mean"] > 0.0
    assert report["policies"]["device_only"]["agreement"]["mean"] == 1.0
    assert report["policies"]["edge_only_jpeg"]["payload_bytes"]["mean"] > 0.0
    assert report["policies"]["device_only"]["payload_bytes"]["mean"] == 0.0
    assert report["policies"]["default"]["messages"]["mean"] > 0.0
    assert report["policies"]["ans"]["messages"]["mean"] == 0.0
    assert set(report["predicted"]) == set(report["policies"])
    assert report["by_seed"]["default"].keys() == {"1000", "1001"}
    assert "the edge worker's computing is stretched" in report["provenance"]["emulated"]
    assert "<html" in (tmp_path / "out" / "report.html").read_text()
    # What was played is not played again, nor thrown away by mistake.
    again = _run(tmp_path)
    assert (again.returncode, "go on with --resume" in again.stderr) == (2, True)
    compared = subprocess.run(
        [sys.executable, "-m", "cans", "compare", str(tmp_path / "out"), "--against", "ans"],
        cwd=_HERE, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (compared.returncode, "2 seeds in common" in compared.stderr) == (2, True)


def test_ctrl_c_ends_every_process_and_a_resumed_run_goes_on(tmp_path: Path) -> None:
    need_mosquitto()
    few = ("--policies", "default,device_only", "--set", "testbed.lanes=1", "--set", "world.fps=4.0")
    with subprocess.Popen(_command(tmp_path, *few), cwd=_HERE, stderr=subprocess.PIPE, text=True) as process:
        kept = tmp_path / "out" / "rounds" / "seed-001000.json"
        ends = time.monotonic() + 150
        while not kept.exists() and time.monotonic() < ends:
            assert process.poll() is None
            time.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "go on with --resume" in said
    assert len(children) >= 5
    assert psutil.wait_procs(children, timeout=20)[1] == []
    before = kept.read_bytes()
    assert not kept.with_name("seed-001001.json").exists()
    done = _run(tmp_path, *few, "--resume")
    assert done.returncode == 0, done.stderr
    assert kept.read_bytes() == before
    assert _summary(tmp_path)["by_seed"]["default"].keys() == {"1000", "1001"}
    other = _run(tmp_path, *few, "--resume", "--set", "world.frames=4")
    assert (other.returncode, "repetitions of another experiment" in other.stderr) == (2, True)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--set", "world.frames=5"), "makes no whole blocks of testbed.block_frames = 2"),
        (("--policies", "nobody"), "there is no policy 'nobody'"),
        (("--set", "testbed.model=no_such_network"), "there is no model 'no_such_network'"),
        (("--set", "testbed.blocks=2"), "there is no key 'blocks'"),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path: Path, more: tuple[str, ...], sentence: str) -> None:
    done = _run(tmp_path, *more)
    assert (done.returncode, done.stderr.count("Traceback")) == (2, 0)
    assert sentence in done.stderr
