"""What exits are worth, shown: the preparation, the table, and one real system of a small network."""

import argparse
import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from cans.__main__ import main as cans
from lab import exits_show
from lab.exits_show import Run, _align, _shuffle, interval, main, play, prepare, tell, uncut
from tests.support.broker import need_mosquitto
from tests.support.small_training import write_images
from tests.support.tiny_network import make

MODEL = "tests.support.tiny_network:make"
FRAMES = 4


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all is made, as `prepare` would leave it: of a network that starts at once."""
    folder = tmp_path_factory.mktemp("show")
    torch.save(make().state_dict(), folder / "weights.pth")
    write_images(folder / "images", 12)
    write_images(folder / "frames", 3, seed=1)
    network = (MODEL, "--weights", folder / "weights.pth")
    exits = folder / "exits.safetensors"
    steps = ("--images", folder / "images", "--steps", "4", "--agreement", "0.5", "--out", exits)
    for command in (
        ("train", "exits", *network, "--after", "1", *steps),
        ("profile", *network, "--repeats", "3", "--out", folder / "plain.json"),
        ("profile", *network, "--repeats", "3", "--exits", exits, "--out", folder / "profile.json"),
    ):
        done = CliRunner().invoke(cans, [str(each) for each in command])
        assert done.exit_code == 0, done.output
    return folder


@pytest.mark.system
@pytest.mark.mosquitto
def test_a_system_with_exits_answers_every_frame(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_mosquitto()
    monkeypatch.setattr(exits_show, "MODEL", MODEL)
    options = argparse.Namespace(out=out, frames=FRAMES, link="40,80,1", slowness=1.0)
    run = asyncio.run(play(options, exits=True, number=0))
    assert len(run.total_ms) == len(run.top) == len(run.arms) == FRAMES
    assert (run.total_ms > 0.0).all()
    assert [arm == "exit" for arm in run.arms] == run.at_exit.tolist()
    whole = uncut(out, FRAMES)
    # Three frames in a circle; where no exit nor lossy codec has answered, the class is the network's.
    assert whole[0] == whole[3]
    for arm, top, expected in zip(run.arms, run.top, whole, strict=True):
        if arm.endswith(("none", "float32", "uint8")):
            assert top == expected


def test_what_is_there_is_not_made_again(out: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    prepare(out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_exits_are_held_to_no_better_a_pace_than_the_arms(tmp_path: Path) -> None:
    def profile(end_ms: float, *exits_ms: float) -> str:
        exits = [{"time": {"median_ms": each, "low_ms": each / 2}, "context": [1.0]} for each in exits_ms]
        return json.dumps({"arms": [{"head": {"median_ms": end_ms}}], "exits": exits})

    plain, timed = tmp_path / "plain.json", tmp_path / "timed.json"
    plain.write_text(profile(99.0, 10.0))
    timed.write_text(profile(30.0, 5.0, 20.0))
    _align(plain, timed)
    both = [json.loads(path.read_text()) for path in (plain, timed)]
    # Both have the arms of the profile with exits; a run to the last exit then takes what its last arm does.
    assert [each["arms"][0]["head"]["median_ms"] for each in both] == [30.0, 30.0]
    assert [each["time"] for each in both[0]["exits"]] == [{"median_ms": 30.0, "low_ms": 15.0}]
    assert [each["time"]["median_ms"] for each in both[1]["exits"]] == [7.5, 30.0]
    # Exits that are slower than the arms stay as they are.
    timed.write_text(profile(10.0, 5.0, 20.0))
    _align(plain, timed)
    assert [each["time"]["median_ms"] for each in json.loads(timed.read_text())["exits"]] == [5.0, 20.0]


def test_frames_are_mixed_and_none_is_lost(tmp_path: Path) -> None:
    for kind in range(4):
        for number in range(5):
            path = tmp_path / "shown" / str(kind) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (1, 1), (kind, number, 0)).save(path)
    _shuffle(tmp_path / "shown", tmp_path / "frames")
    mixed = [Image.open(path).getpixel((0, 0)) for path in sorted((tmp_path / "frames").iterdir())]
    assert sorted(mixed, key=str) == sorted(((k, n, 0) for k in range(4) for n in range(5)), key=str)
    assert mixed != sorted(mixed, key=str)


def test_an_interval_is_that_of_student() -> None:
    mean, margin = interval([1.0, 2.0, 3.0])
    # t(0.975, 2) = 4.302653, standard error 1 / sqrt(3).
    assert (mean, margin) == pytest.approx((2.0, 4.302653 / 3**0.5))
    assert interval([5.0, 5.0]) == (5.0, 0.0)


def test_a_row_is_of_the_second_half_of_each_run_and_agreement_of_all_frames() -> None:
    answers = np.array([1, 2, 3, 4])
    runs = [
        Run(
            np.array([900.0, 900.0, 10.0, 30.0]),
            answers,
            np.array([1, 1, 1, 0]) > 0,
            ("x", "x", "exit", "1/a"),
        ),
        Run(
            np.array([900.0, 900.0, 20.0, 20.0]),
            answers * [0, 1, 1, 1],
            np.zeros(4) > 0,
            ("x", "x", "1/a", "1/a"),
        ),
    ]
    assert tell("0.99", runs, answers) == ("| 0.99 | 20.0 ± 0.0 | 20.0 | 24.5 | 25.0% | 0.8750 | 1/a, 75% |")


@pytest.mark.parametrize(
    "arguments", [("--frames", "1"), ("--runs", "1"), ("--link", "fast"), ("--link", "4,8"), ()]
)
def test_what_shows_nothing_is_refused_before_anything_is_made(
    arguments: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "out"), *arguments] if arguments else [])
    assert ended.value.code == 2
    assert "exits_show: error: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
