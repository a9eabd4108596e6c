"""`cans partition`: what people read, what programs read, and every way to ask for nothing sensible."""

import json
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from cans.commands.partition import partition

HERE = "tests.support.foreign_networks"
SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "partition.json"


def _run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(partition, list(arguments))
    return done.exit_code, done.stdout, done.stderr


def test_the_table_lists_useful_cuts_and_says_how_many_it_leaves_out() -> None:
    code, out, _ = _run(f"{HERE}:Narrow", "--input", "1x64", "--batches", "1,3")
    assert code == 0
    assert "1x8 float32" in out
    assert "more places send no less" in out
    assert out.count("yes") == sum(line.strip().endswith("yes") for line in out.splitlines())
    _, everything, _ = _run(f"{HERE}:Narrow", "--input", "1x64", "--batches", "1", "--all")
    assert "more places" not in everything
    assert "1x4 float32, 1x4 float32" in everything
    assert everything.count("yes") > out.count("yes")


@pytest.mark.parametrize(
    "arguments",
    [
        (f"{HERE}:Skips", "--input", "1x3x16x16"),
        (f"{HERE}:Dictionary", "--input", "input_ids=1x7:int64<50", "--input", "mask=1x7"),
        (f"{HERE}:InPlace@12x12",),
    ],
)
def test_json_is_what_its_schema_says(arguments: tuple[str, ...]) -> None:
    code, out, _ = _run(*arguments, "--json", "--batches", "1")
    assert code == 0
    said = json.loads(out)
    jsonschema.validate(said, json.loads(SCHEMA.read_text()))
    assert said["cuts"][-1]["bytes"] == 0
    assert said["cuts"][-1]["macs_before"] == said["macs"]
    assert said["exact"]


def test_what_a_library_prints_is_not_in_the_json() -> None:
    code, out, err = _run(f"{HERE}:Talks", "--input", "1x4", "--json", "--batches", "1")
    assert code == 0
    assert json.loads(out)["exact"]
    assert "newer version" in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("vgg",), "there is no model 'vgg'"),
        ((f"{HERE}:Decides@8x8",), "decides by the content of a tensor"),
        ((f"{HERE}:Skips", "--input", "16"), "give inputs as its forward expects them"),
        ((f"{HERE}:Skips", "--input", "1x3x8x8", "--example", "x.npz"), "give one"),
        ((f"{HERE}:Skips", "--batches", "0"), "--batches '0' must be sizes from 1 on"),
        ((f"{HERE}:Skips", "--batches", "one"), "--batches 'one' must be sizes from 1 on"),
        ((f"{HERE}:Skips", "--weights", "nowhere.pt"), "there is no weights file nowhere.pt"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_2(
    arguments: tuple[str, ...], sentence: str
) -> None:
    code, out, error = _run(*arguments)
    assert code == 2
    assert out == ""
    assert sentence in error
    assert len(error.strip().splitlines()) == 1
