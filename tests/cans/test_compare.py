"""`cans compare` as a person meets it: on what `cans simulate` has written."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cans.__main__ import main


def cans(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Seven and six seeds of one world; `switch` has changed, `oracle` cannot."""
    made = tmp_path_factory.mktemp("made")
    experiment = made / "two.toml"
    experiment.write_text(
        'title = "Two"\n[world]\nframes = 12\n[[world.types]]\nname = "phone"\ndevices = 2\nslowness = 8.0\n'
        'link = { kind = "constant", mbit_s = 12.0 }\n[policies.oracle]\n[policies.switch]\n'
        'learner = "fixed"\n'
        'arm = "end/none"\n[policies.long]\nlearner = "device_only"\nworld.frames = 13\n'
    )
    for name, more in (
        ("a", ["--seeds", "7"]),
        ("b", ["--seeds", "6", "--set", "policies.switch.arm=0/jpeg"]),
    ):
        ran = cans("simulate", experiment, "--quiet", "--processes", "1", "--out", made / name, *more)
        assert ran.exit_code == 0, ran.output
    return made / "a", made / "b"


def test_two_folders_as_a_table(folders: tuple[Path, Path]) -> None:
    found = cans("compare", *folders)
    assert found.exit_code == 0
    rows = {line.split()[1]: line for line in found.stdout.splitlines() if "mean_ms" in line}
    assert "faster" in rows["switch"]
    assert "equal" in rows["oracle"]
    assert "corrected for 1 comparisons" in " ".join(found.stdout.split())
    assert found.stderr == "left out: seeds that only one of the two has (1)\n"


def test_one_folder_against_one_of_its_policies_as_json(folders: tuple[Path, Path]) -> None:
    found = cans("compare", folders[0], "--against", "switch", "--json")
    assert found.exit_code == 0
    said = json.loads(found.stdout)
    verdicts = {one["policy"]: one["verdict"] for one in said["comparisons"] if one["verdict"]}
    assert verdicts == {"oracle": "lower"}
    assert said["left_out"] == {"long": "played in another world: other settings, network or recordings"}
    assert cans("compare", folders[0], "--against", "switch", "--policies", "oracle").stderr == ""


def test_few_seeds_are_said_to_be_few(folders: tuple[Path, Path], tmp_path: Path) -> None:
    summary = json.loads((folders[0] / "summary.json").read_text())
    summary["by_seed"]["oracle"] = dict(list(summary["by_seed"]["oracle"].items())[:4])
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    found = " ".join(cans("compare", tmp_path, "--against", "switch").stdout.split())
    assert "no difference shown" in found
    assert "cannot be under 0.12 with so few seeds: run more" in found


def test_what_cannot_be_compared_is_one_sentence_and_code_2(folders: tuple[Path, Path]) -> None:
    for arguments, said in (
        ([folders[0]], "or one folder and --against POLICY"),
        ([*folders, "--against", "oracle"], "or one folder and --against POLICY"),
        ([folders[0], folders[0].parent], "cannot read"),
        ([folders[0], "--against", "nobody"], "there is no policy 'nobody'"),
    ):
        found = cans("compare", *arguments)
        assert found.exit_code == 2
        assert said in found.stderr
        assert found.stderr.count("\n") == 1
