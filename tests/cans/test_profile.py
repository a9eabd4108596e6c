"""`cans profile --exits`: the exits of a file are timed, and arms and contexts stay what they are without."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cans.__main__ import main
from partition.networks.zoo import load_model
from partition.partitioned import build
from partition.profiles.profile_file import read_profile
from tests.support.small_training import write_images

MODEL = "tests.support.tiny_network:make"


@pytest.fixture(scope="module")
def exits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exits")
    write_images(folder / "images", 12)
    out = folder / "exits.safetensors"
    steps = ("--images", folder / "images", "--steps", "4", "--agreement", "0.5", "--out", out)
    trained = run("train", "exits", MODEL, "--after", "1,2", *steps)
    assert trained.exit_code == 0, trained.output
    return out


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def test_each_exit_of_the_file_and_the_networks_end_have_a_time(exits: Path, tmp_path: Path) -> None:
    plain, timed = tmp_path / "plain.json", tmp_path / "timed.json"
    assert run("profile", MODEL, "--repeats", "3", "--out", plain).exit_code == 0
    result = run("profile", MODEL, "--repeats", "3", "--exits", exits, "--out", timed, "--json")
    assert result.exit_code == 0, result.output
    without, found = read_profile(plain), read_profile(timed)
    assert json.loads(result.stdout) == json.loads(timed.read_text())
    assert (len(without.exits), len(found.exits)) == (1, 3)
    # Exits change neither the network nor what its arms mean: what was learnt without them holds.
    assert (found.model, found.schema, found.columns) == (without.model, without.schema, without.columns)
    assert [arm.label for arm in found.arms] == [arm.label for arm in without.arms]
    model = build(load_model(MODEL, exits=exits))
    for number, each in enumerate(found.exits):
        assert each.context == tuple(model.exit_context(number))
        assert 0.0 < each.time.low_ms <= each.time.median_ms <= each.time.high_ms
    work = [sum(each.context) for each in found.exits]
    assert work == sorted(work)
    assert work[0] < work[1] < work[2]
    # Whoever comes to the end has asked both exits on the way.
    assert work[2] > sum(without.exits[0].context)


def test_exits_of_other_weights_are_refused_and_nothing_is_written(exits: Path, tmp_path: Path) -> None:
    out = tmp_path / "profile.json"
    result = run("profile", MODEL, "--weights-seed", "1", "--exits", exits, "--out", out)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the exits were trained for model" in result.stderr
    assert not out.exists()


@pytest.mark.parametrize("kind", ["absent", "damaged"])
def test_a_file_that_holds_no_exits_is_one_sentence(exits: Path, tmp_path: Path, kind: str) -> None:
    path, out = tmp_path / "e.safetensors", tmp_path / "profile.json"
    if kind == "damaged":
        path.write_bytes(exits.read_bytes()[:-100])
    result = run("profile", MODEL, "--exits", path, "--out", out)
    assert (result.exit_code, result.stdout) == (2, "")
    assert str(path) in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not out.exists()
