"""Agreement of codecs with the uncut model, as a person and as a program read it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from bus.errors import ConfigurationError
from partition.agreement import Agreement, banned, compare, main
from partition.arms import Arm
from partition.images import MovingCrops
from partition.results import Logits
from tests.support.tiny_network import make

TINY = "tests.support.tiny_network:make"
NETWORKS = "tests.support.tiny_network"
ANSWERS = arrays(np.float32, 4, elements=st.floats(width=32))


def test_it_prints_a_table_in_which_lossless_arms_agree(capsys: pytest.CaptureFixture[str]) -> None:
    main(["resnet18", "--frames", "8"])
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()[2:-1]}
    assert len(rows) == 21
    for label, row in rows.items():
        if label.endswith(("float32", "uint8")):
            assert float(row[3]) == float(row[4]) == 1.0
        elif label.endswith(("float16", "int8-zstd")):
            assert float(row[3]) >= 0.75
            assert float(row[4]) > 0.999
    assert float(rows["0/jpeg"][2]) < float(rows["1/int8-zstd"][2]) < float(rows["0/uint8"][2])


def test_seeded_weights_are_called_so_and_those_of_a_file_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tiny.pth"
    torch.save(make().state_dict(), path)
    main([TINY, "--frames", "1"])
    seeded = capsys.readouterr().out
    main([TINY, "--frames", "1", "--weights", str(path)])
    trained = capsys.readouterr().out
    assert seeded.startswith(f"{TINY}, weights seeded:0, model ")
    assert seeded.splitlines()[-1].startswith("seeded: these weights are drawn, not trained")
    assert trained.startswith(f"{TINY}, weights file:")
    assert "seeded" not in trained


def test_the_json_is_the_table_with_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    main([TINY, "--frames", "2", "--weights-seed", "7"])
    table = capsys.readouterr().out.splitlines()[2:-1]
    main([TINY, "--frames", "2", "--weights-seed", "7", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert (report["network"], report["weights"], report["seeded"]) == (TINY, "seeded:7", True)
    assert report["frames"] == 2
    assert [row["arm"] for row in report["arms"]] == [line.split()[0] for line in table]
    (jpeg,) = (row for row in report["arms"] if row["codec"] == "jpeg")
    assert (jpeg["cut"], jpeg["cut_after"]) == (0, "input")
    assert 0.0 <= jpeg["top1"] <= 1.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["best"], "there is no model 'best'"),
        ([TINY, "--frames", "0"], "--frames 0 leaves nothing to measure"),
        ([TINY, "--weights", "none.pth"], "there is no weights file none.pth"),
    ],
)
def test_what_cannot_work_is_one_sentence_and_exit_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    said = capsys.readouterr().err
    assert (ended.value.code, len(said.splitlines())) == (2, 1)
    assert words in said


def test_the_help_says_what_each_column_means(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    for word in ("top-1", "cosine", "max error", "--weights FILE", "--json", "examples:", "exit codes:"):
        assert word in said


def test_it_measures_your_codecs_on_your_images_and_skips_what_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        Image.fromarray(MovingCrops(number, (40, 60)).frame(0)).save(tmp_path / f"{number}.png")
    (tmp_path / "3.jpg").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("no image either", encoding="utf-8")
    main([TINY, "--images", str(tmp_path), "--codecs", "webp80,int4-zstd3", "--json"])
    said = capsys.readouterr()
    report = json.loads(said.out)
    assert report["frames"] == 3
    assert [row["arm"] for row in report["arms"]] == ["0/webp80", "1/int4-zstd3", "2/int4-zstd3"]
    assert said.err.count("skipped") == said.err.count("3.jpg") == 1
    main([TINY, "--images", str(tmp_path), "--frames", "2", "--codecs", "topk10-float16-shuffle-zstd3"])
    (_, _, row, *_) = capsys.readouterr().out.splitlines()
    assert row.startswith("1/topk10-float16-shuffle-zstd3  1 ")


def test_arms_below_the_least_agreement_are_banned() -> None:
    arms = [Arm(index, index, "jpeg", f"{index}/jpeg") for index in range(3)]
    rows = [
        Agreement(arm, 1.0, top1, 1.0, 0.0, 100) for arm, top1 in zip(arms, (1.0, 0.99, 0.98), strict=True)
    ]
    assert banned(rows, 0.99) == (arms[2],)
    assert banned(rows, 1.0) == (arms[1], arms[2])
    assert banned(rows, 0.0) == ()
    for share in (-0.1, 1.01, float("nan")):
        with pytest.raises(ConfigurationError, match="a share from 0 to 1"):
            banned(rows, share)


def test_folders_without_an_image_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, bad = tmp_path / "empty", tmp_path / "bad"
    empty.mkdir()
    bad.mkdir()
    (bad / "1.png").write_bytes(b"no image")
    words = {empty: "holds no image", bad: "is not an image", tmp_path / "absent": "cannot read the folder"}
    for folder, word in words.items():
        with pytest.raises(SystemExit) as ended:
            main([TINY, "--images", str(folder)])
        said = capsys.readouterr().err
        assert ended.value.code == 2
        assert word in said.splitlines()[-1]
        assert len(said.splitlines()) == 1


def logits(*numbers: float) -> Logits:
    return np.array(numbers, dtype=np.float32)


@pytest.mark.parametrize(
    ("mine", "whole", "expected"),
    [
        (logits(0.0, 0.0), logits(0.0, 0.0), (1.0, 1.0, 0.0)),
        (logits(0.0, 0.0), logits(0.0, 2.0), (0.0, 0.0, 2.0)),
        (logits(2.0, 0.0), logits(0.0, 0.0), (1.0, 0.0, 2.0)),
        (logits(3.0, 4.0), logits(6.0, 8.0), (1.0, 1.0, 4.0)),
        (logits(1.0, 0.0), logits(0.0, 1.0), (0.0, 0.0, 1.0)),
        # Their squares are outside float32's range, above and below.
        (logits(1e30, 1e30), logits(-1e30, -1e30), (1.0, -1.0, float(2 * np.float32(1e30)))),
        (logits(1e-30, 0.0), logits(2e-30, 0.0), (1.0, 1.0, 1e-30)),
        (logits(1.0, -np.inf), logits(1.0, -np.inf), (1.0, 1.0, 0.0)),
        (logits(1.5, -np.inf), logits(1.0, -np.inf), (1.0, 0.0, 0.5)),
        (logits(1.0, 0.0), logits(1.0, -np.inf), (1.0, 0.0, np.inf)),
        # NaN is the largest to argmax, on both sides: that is no agreement.
        (logits(np.nan, 1.0), logits(np.nan, 1.0), (0.0, 0.0, np.inf)),
        (logits(np.nan, 1.0), logits(2.0, 1.0), (0.0, 0.0, np.inf)),
        (logits(2.0, 1.0), logits(np.nan, 1.0), (0.0, 0.0, np.inf)),
    ],
)
def test_what_no_cosine_is_defined_for(
    mine: Logits, whole: Logits, expected: tuple[float, float, float]
) -> None:
    assert compare(mine, whole) == pytest.approx(expected, rel=1e-5, abs=0.0)


@given(ANSWERS, ANSWERS)
def test_no_two_answers_compare_to_nan(mine: Logits, whole: Logits) -> None:
    top1, cosine, error = compare(mine, whole)
    assert top1 in {0.0, 1.0}
    assert -1.0 - 1e-9 <= cosine <= 1.0 + 1e-9
    assert error >= 0.0
    assert (compare(mine, mine) == (1.0, 1.0, 0.0)) != bool(np.isnan(mine).any())


@pytest.mark.parametrize(
    ("network", "expected"),
    [("silent", (1.0, 1.0, 0.0)), ("masked", (0.0, 0.0, None)), ("broken", (0.0, 0.0, None))],
)
def test_networks_that_say_nothing_finite_or_nothing_at_all_are_json(
    network: str, expected: tuple[float, float, float | None], capsys: pytest.CaptureFixture[str]
) -> None:
    main([f"{NETWORKS}:{network}", "--frames", "2", "--codecs", "float32,uint8", "--json"])
    report = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert {(row["top1"], row["cosine"], row["max_error"]) for row in report["arms"]} == {expected}
    main([f"{NETWORKS}:{network}", "--frames", "2", "--codecs", "float32,uint8"])
    assert "nan" not in capsys.readouterr().out
