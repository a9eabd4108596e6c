"""`cans explain`: why an arm was played, from a recording."""

import json
import re
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from bus.messages import Feedback, GroupParameters, QueueNotice
from bus.topics import FEEDBACK, GROUPS, QUEUE, Topics
from bus.wire import encode
from cans.__main__ import main as command_line
from tests.reference.make import RECORDING
from tests.support.recordings import file_of, message
from tests.support.samples import MODEL, SAMPLES

TOPICS = Topics()
SAID = next(each for _, each in SAMPLES if isinstance(each, Feedback))
GROUP = next(each for _, each in SAMPLES if isinstance(each, GroupParameters))


def _run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(command_line, ["explain", *map(str, arguments)])
    return done.exit_code, done.output


def test_a_frame_of_the_reference_site_is_explained() -> None:
    code, said = _run(RECORDING, "--frame", "cam-1:6")
    assert code == 0
    assert "frame 6 under fedlinucb_dw" in said
    assert re.search(r"It expected [\d.]+ ms, give or take [\d.]+", said)
    assert "it would have taken" in said
    assert "█" in said
    code, said = _run(RECORDING, "--frame", "cam-2:3:edge_only_jpeg")
    assert "It does not say what it expected" in said
    assert "arm 0/jpeg" in said


def _site(path: Path, **changed: object) -> Path:
    said = msgspec.structs.replace(
        SAID, device="cam-1", seq=4, policy="fedlinucb_dw", total_ms=100.0, expected_ms=90.0, unsure_ms=5.0,
        version=GROUP.version, propensity=0.25, reason="deadline",
    )  # fmt: skip
    said = msgspec.structs.replace(said, **changed)
    topic = TOPICS.of(FEEDBACK, type="pi4", device="cam-1")
    told = QueueNotice(edge="edge-1", free_ms=400.0, jobs=2)
    late = QueueNotice(edge="edge-2", free_ms=400.0, jobs=2)
    entries = [
        message(
            0, 0.0, TOPICS.of(GROUPS, type="pi4", model=MODEL), bytes(encode(GROUPS, GROUP)), retained=True
        ),
        message(1, 1.7, TOPICS.of(QUEUE, edge="edge-1"), bytes(encode(QUEUE, told))),
        message(2, 1.95, TOPICS.of(QUEUE, edge="edge-2"), bytes(encode(QUEUE, late))),
        message(3, 2.0, topic, bytes(encode(FEEDBACK, said))),
        message(4, 2.1, topic, b"broken"),
        message(5, 2.2, "elsewhere", b""),
    ]
    return file_of(path, entries)


def test_what_it_knew_is_said_with_its_age(tmp_path: Path) -> None:
    code, said = _run(_site(tmp_path / "site.mcap"), "--frame", "cam-1:4")
    assert code == 0, said
    assert "(deadline)" in said
    assert "a likelihood of 0.25" in said
    assert "it was +10.0 off" in said
    assert f"version {GROUP.version} of its group: {GROUP.count} rows" in said
    assert "broadcast 1.9 s before" in said
    assert "edge-1 had said 0.20 s before for how long a request would wait: 200 ms were left" in said
    assert "edge-2" not in said  # it said so when the arm was chosen
    figures = json.loads(_run(tmp_path / "site.mcap", "--frame", "cam-1:4", "--json")[1])
    assert figures["frame"]["expected_ms"] == 90.0
    assert figures["queues"]["edge-1"]["free_ms"] == 400.0
    assert figures["group"]["age_s"] == pytest.approx(1.9)


def test_what_was_not_recorded_is_said_to_be_missing(tmp_path: Path) -> None:
    other = _site(tmp_path / "other.mcap", version=99, codec="none", propensity=0.0)
    said = _run(other, "--frame", "cam-1:4")[1]
    assert "version 99 of its group, which was not recorded" in said
    assert "arm end/none" in said
    assert json.loads(_run(other, "--frame", "cam-1:4", "--json")[1])["group"] is None
    fresh = _site(tmp_path / "fresh.mcap", version=0, expected_ms=0.0)
    assert "adopted nothing of its group yet" in _run(fresh, "--frame", "cam-1:4")[1]


def test_a_device_alone_is_its_slowest_frame() -> None:
    slowest = json.loads(_run(RECORDING, "--frame", "cam-1", "--json")[1])["frame"]
    others = [
        json.loads(_run(RECORDING, "--frame", f"cam-1:{seq}", "--json")[1])["frame"] for seq in range(8)
    ]
    assert slowest["total_ms"] == max(other["total_ms"] for other in others)
    assert len({other["total_ms"] for other in others}) > 1


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        ("cam-9:1", "holds no frame 1 of cam-9; it has "),
        ("cam-1:99", "holds no frame 99 of cam-1; it has "),
        ("cam-9", "holds no frame of cam-9; it has "),
        ("cam-1:x", "write DEVICE:FRAME"),
        (":1", "write DEVICE:FRAME"),
    ],
)
def test_a_frame_that_is_not_there_is_one_sentence(tmp_path: Path, frame: str, sentence: str) -> None:
    code, said = _run(_site(tmp_path / "site.mcap"), "--frame", frame)
    assert (code, sentence in said) == (2, True), said


def test_a_recording_without_feedback_has_no_frame(tmp_path: Path) -> None:
    silent = file_of(tmp_path / "silent.mcap", [message(0, 0.0, "cans/v1/x")])
    code, said = _run(silent, "--frame", "cam-1:4")
    assert (code, "it has no frame of any" in said) == (2, True)
