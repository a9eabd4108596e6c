"""A new model rolls out under load: no frame is lost, old frames are answered by the old one.

A site as processes, on mosquitto, by the command lines of docs/models-folder.md. The device takes the next
frame as soon as the last is answered, and one of its policies offloads every frame.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.broker import need_mosquitto
from tests.support.site import Site, site
from tests.support.small_training import trained_for

pytestmark = pytest.mark.system

TINY = "tests.support.tiny_network:make"
FOLDER = ("--models-dir", "models")


def _models(folder: Path, *arguments: str) -> str:
    """Run `cans models ARGUMENTS`; return what it prints."""
    command = [sys.executable, "-m", "cans", "models", *arguments, *FOLDER]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=60).stdout


def _device(here: Site) -> None:
    plays = ("--warm-start", "4", "--deadline-ms", "5000", "--wait-edge-s", "40", "--flush-s", "15")
    what = (*FOLDER, "--poll-s", "0.2", "--compare", "edge_only_jpeg")
    who = ("--id", "cam-1", "--type", "pi4", "--broker", here.url, "--summary", "cam-1.json")
    here.start("cam-1", "device", *who, *plays, *what, "--state-dir", "cam-1-state")


def _answers(here: Site, model: str, by: str = "edge") -> int:
    return sum(each["model"] == model and each["answered_by"] == by for each in here.heard("feedback/"))


def _served(here: Site) -> dict[str, Any]:
    return here.heard("state/edge/")[-1]


def test_a_new_model_rolls_out_while_a_device_plays_and_no_frame_is_lost(tmp_path: Path) -> None:
    need_mosquitto()
    old = _models(tmp_path, "add", TINY, "--use", "current").split()[0]
    with site(tmp_path) as here:
        here.broker()
        here.aggregator()
        here.start("edge", "edge", "--broker", here.url, *FOLDER, "--poll-s", "0.2", "--grace-s", "2")
        here.watch()
        _device(here)
        here.until(lambda: _answers(here, old) >= 20, "the old model's tails answer")

        new = _models(tmp_path, "add", TINY, "--weights-seed", "1").split()[0]
        assert new != old
        here.until(lambda: _served(here)["models"] == ",".join(sorted((old, new))), "both are announced")
        so_far = _answers(here, old)
        here.until(lambda: _answers(here, old) >= so_far + 10, "old frames are answered by the old one")
        assert _answers(here, new) == 0

        _models(tmp_path, "use", "current", new)
        here.until(lambda: _answers(here, new) >= 20, "the device has gone over")
        _models(tmp_path, "remove", old)
        here.until(lambda: _served(here)["models"] == new, "the old one is announced no more")
        so_far = _answers(here, new)
        here.until(lambda: _answers(here, new) >= so_far + 10, "the new one goes on")

        assert here.end("cam-1") == 0
        summary = here.summary()
        here.until(lambda: here.heard("state/device/")[-1]["state"] == "disconnected", "all was heard")
        said = here.heard("feedback/")
        assert "Traceback" not in here.log("cam-1") + here.log("edge")
        assert here.end("edge") == 0

    # Every frame has exactly one answer of each policy; only the frame in hand when told to stop may lack it.
    turns = [(each["model"], each["policy"], each["seq"]) for each in said]
    assert len(set(turns)) == len(turns)
    for policy, played in summary["policies"].items():
        rejected = played["rejected"]
        assert set(rejected) <= {"stopping"}
        assert played["sent"] == sum(played["answered"].values()) + sum(rejected.values())
        assert sum(each["policy"] == policy for each in said) == sum(played["answered"].values())
        for model in (old, new):
            seqs = sorted(each["seq"] for each in said if (each["policy"], each["model"]) == (policy, model))
            # The old model's session played all that it had captured; the new one's may be told to stop.
            assert seqs == list(range(len(seqs)))
    # Nobody was asked for what it does not serve, and after the change only the new model answers.
    assert not {"unknown_model", "malformed", "edge_lost"} & {each["reason"] for each in said}
    order = [each["model"] for each in said]
    assert order == [old] * order.count(old) + [new] * order.count(new)
    assert summary["statistics_sent"] == summary["statistics_merged"] > 0


def test_a_bottleneck_that_is_trained_later_reaches_edge_worker_and_device_while_they_play(
    tmp_path: Path,
) -> None:
    need_mosquitto()
    bottleneck, _ = trained_for(TINY, tmp_path / "trained")
    model = _models(tmp_path, "add", TINY, "--use", "current").split()[0]
    with site(tmp_path) as here:
        here.broker()
        here.aggregator()
        here.start("edge", "edge", "--broker", here.url, *FOLDER, "--poll-s", "0.2")
        here.watch()
        _device(here)
        here.until(lambda: _answers(here, model) >= 20, "the model's tails answer")
        before = _served(here)["arms"]

        _models(tmp_path, "add", TINY, "--bottleneck", str(bottleneck))
        here.until(lambda: _served(here)["arms"] != before, "the edge worker announces other arms")
        here.until(lambda: _sessions(here) == 2, "the device has gone over")
        so_far = _answers(here, model)
        here.until(lambda: _answers(here, model) >= so_far + 20, "the edge worker answers its arms")

        assert here.end("cam-1") == 0
        here.until(lambda: here.heard("state/device/")[-1]["state"] == "disconnected", "all was heard")
        said = here.heard("feedback/")
        assert "Traceback" not in here.log("cam-1") + here.log("edge")
        assert here.end("edge") == 0

    # One answer a frame of each policy, before and after; nobody asked for an arm that was not there.
    policies = {each["policy"] for each in said}
    assert len(policies) == 2
    for policy in policies:
        seqs = [each["seq"] for each in said if each["policy"] == policy]
        again = seqs.index(0, 1)
        assert sorted(seqs[:again]) == list(range(again))
        assert sorted(seqs[again:]) == list(range(len(seqs) - again))
    assert not {"unknown_model", "malformed", "edge_lost"} & {each["reason"] for each in said}


def _sessions(here: Site) -> int:
    """How often the device has begun to count its frames."""
    return sum(each["seq"] == 0 and each["policy"] == "edge_only_jpeg" for each in here.heard("feedback/"))
