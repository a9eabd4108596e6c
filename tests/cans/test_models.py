"""`cans models` as a person meets it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cans.__main__ import main
from tests.support.small_training import trained_for

TINY = "tests.support.tiny_network:make"


def said(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["models", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_a_model_from_its_source_to_its_end(tmp_path: Path) -> None:
    where = ("--models-dir", str(tmp_path))
    hash_ = said("add", TINY, *where, "--use", "current").split()[0]
    assert "was there already" in said("add", TINY, *where)
    assert f"{hash_}" in said(*where)
    assert "[current]" in said("list", *where)
    assert json.loads(said("list", "--json", *where))["names"] == ["current"]
    assert json.loads(said("show", hash_[:5], "--check", *where))["source"]["kind"] == "callable"
    assert said("use", "next", hash_, *where) == f"next is {hash_}\n"
    assert said("remove", "next", *where) == f"removed {hash_} and the name current and the name next\n"
    assert "there is no model 'next'" in said("remove", "next", *where, code=2)
    assert "holds no models" in said("list", *where)


def test_one_folder_for_all_commands_of_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cans.toml").write_text('[models]\nmodels-dir = "here"\n')
    for command in (["models", "list"], ["models"], ["edge"], ["device"]):
        shown = CliRunner().invoke(main, [*command, "--show-settings"]).output
        (line,) = [line for line in shown.splitlines() if line.startswith("models-dir")]
        assert line.split()[1:] == ["here", "file", "cans.toml"]


def test_what_was_trained_for_a_model_goes_into_the_folder_with_it(tmp_path: Path) -> None:
    bottleneck, exits = map(str, trained_for(TINY, tmp_path / "trained"))
    where = ("--models-dir", str(tmp_path / "models"))
    hash_ = said("add", TINY, *where, "--bottleneck", bottleneck).split()[0]
    assert "+ bottleneck at cut 1\n" in said("list", *where)
    again = said("add", TINY, *where, "--exits", exits)
    assert again == f"{hash_} was there already, and has other trained files now\n"
    assert said("add", TINY, *where, "--exits", exits) == f"{hash_} was there already\n"
    assert "+ bottleneck at cut 1, exits" in said("list", *where)
    shown = json.loads(said("show", hash_, "--check", *where))
    assert [part["cut"] for part in (*shown["bottlenecks"], *shown["exits"])] == [1, 1]
    other = ("--weights-seed", "1")
    for wrong in (("--exits", exits), ("--bottleneck", bottleneck)):
        assert "trained" in said("add", TINY, *other, *where, *wrong, code=2)
    assert "there is no file" in said("add", TINY, *where, "--exits", "nowhere", code=2)
    assert len(said("list", *where).splitlines()) == 1
