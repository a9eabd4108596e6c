"""Agreement of codecs with the uncut model, as a person and as a program read it."""

import json
from pathlib import Path

import pytest
import torch

from partition.agreement import main
from tests.support.tiny_network import make

TINY = "tests.support.tiny_network:make"


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
