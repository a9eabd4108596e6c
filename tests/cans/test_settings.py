"""Flags over environment over file over defaults; and what a person is told when it does not fit."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from bandits.settings import PRACTICE
from bandits.settings import Settings as LearnerSettings
from cans.__main__ import main
from cans.settings import settings_of
from cans.shared_options import broker_address
from device.settings import DeviceSettings


def _cans(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, list(arguments), env=env)


def _settings(*arguments: str, env: dict[str, str] | None = None) -> dict[str, tuple[str, str]]:
    result = _cans(*arguments, "--show-settings", env=env)
    assert result.exit_code == 0, result.output
    rows = (line.split("  ") for line in result.stdout.splitlines())
    words = ([word.strip() for word in row if word.strip()] for row in rows)
    return {name: (value, origin) for name, value, origin in words}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "cans.toml"
    path.write_text(
        '[broker]\nurl = "mqtt://file:1"\nport = 5\n[device]\nid = "from-file"\nwarm-start = 3\ntype = "f"\n'
    )
    return path


def test_flag_beats_environment_beats_file_beats_default(file: Path) -> None:
    env = {"CANS_DEVICE_ID": "from-env", "CANS_DEVICE_TYPE": "e"}
    shown = _settings("device", "--id", "from-flag", env=env)
    assert shown["id"] == ("from-flag", "flag")
    assert shown["type"] == ("e", "environment CANS_DEVICE_TYPE")
    assert shown["warm-start"] == ("3", f"file {file.name}")
    assert shown["fps"] == ("0.0", "default")


def test_the_broker_is_set_once_for_all(file: Path) -> None:
    for command in ("device", "edge", "aggregator", "watch"):
        assert _settings(command)["broker"] == ("mqtt://file:1", f"file {file.name}")
    assert _settings("broker")["port"] == ("5", f"file {file.name}")
    assert _settings("demo")["broker"] == ("-", "default")


def test_another_file_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text("[edge]\nworkers = 7\n[groups.small]\ntypes = ['pi4']\n")
    assert _settings("edge", "--config", str(path))["workers"] == ("7", f"file {path}")


def test_a_password_is_shown_as_being_there_and_never_itself(tmp_path: Path) -> None:
    shown = _settings("watch", env={"CANS_BROKER_PASSWORD": "hunter2"})
    assert shown["password"] == ("***", "environment CANS_BROKER_PASSWORD")
    secret = tmp_path / "secret"
    secret.write_text("hunter3\n")
    result = _cans("watch", "--password-file", str(secret), "--show-settings")
    assert "hunter" not in result.output
    assert "***" in result.output


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[device]\nwarmstart = 3\n", "there is no [device] setting 'warmstart': did you mean 'warm-start'?"),
        ("[devise]\nid = 'x'\n", "there is no section 'devise': did you mean 'device'?"),
        ("[broker]\nurll = 'x'\n", "there is no [broker] setting 'urll': did you mean 'url'?"),
        ("[edge]\nwrokers = 2\n", "there is no [edge] setting 'wrokers': did you mean 'workers'?"),
        ("device = 3\n", "'device' is a section: write [device] with its settings below"),
        ("[device\n", "is not TOML"),
        ("\xff", "is not TOML"),
    ],
)
def test_a_wrong_file_is_one_sentence_and_exit_2(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "cans.toml"
    path.write_bytes(text.encode("latin-1"))
    result = _cans("device", "--config", str(path), "--show-settings")
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    result = _cans("device", "--config", str(tmp_path / "none.toml"))
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "give an existing file" in result.stderr


def test_a_value_of_the_wrong_type_in_the_file_is_exit_2(tmp_path: Path) -> None:
    path = tmp_path / "cans.toml"
    path.write_text("[device]\nframes = 'many'\n")
    result = _cans("device", "--config", str(path), "--show-settings")
    assert result.exit_code == 2
    assert "--frames" in result.stderr


def test_the_password_comes_from_the_file_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANS_BROKER_PASSWORD", "environment")
    assert broker_address("mqtt://me@host").password == "environment"
    secret = tmp_path / "secret"
    secret.write_text("file\nsecond line\n")
    assert broker_address("mqtt://me@host", password_file=secret).password == "file"


@pytest.mark.parametrize(
    "arguments",
    [
        ("watch", "--broker", "host:1883"),
        ("watch", "--broker", "mqtt://me:secret@host"),
        ("watch", "--broker", "mqtts://host", "--cert", "only.pem"),
        ("watch", "--ca", "ca.pem"),
        ("watch", "--password-file", "/nonexistent"),
        ("demo", "--broker", "mqtts://host"),
    ],
)
def test_an_address_that_cannot_work_is_one_sentence(arguments: tuple[str, ...]) -> None:
    result = _cans(*arguments)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert result.stderr.startswith("cans: ")
    assert "secret" not in result.stderr


def _learner(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> LearnerSettings:
    """What `cans device` with these arguments hands to the device."""
    handed: list[LearnerSettings] = []

    def run_to_summary(settings: DeviceSettings, *_: object, **_more: object) -> None:
        handed.append(settings.learner)

    monkeypatch.setattr("cans.device_root.run_to_summary", run_to_summary)
    monkeypatch.setattr("cans.running.run", lambda main: main())
    result = _cans("device", *arguments)
    assert result.exit_code == 0, result.output
    return handed[0]


def test_the_learners_switches_are_the_learners_own_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _learner(monkeypatch) == PRACTICE
    assert _learner(monkeypatch, "--link", "learned") == LearnerSettings()


def test_each_switch_of_the_learner_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = ("--alpha", "0", "--beta", "0.02", "--regularisation", "2.5")
    learner = _learner(monkeypatch, *numbers, "--view", "strict", "--feedback", "total", "--link", "learned")
    wanted = LearnerSettings(alpha=0.0, beta_s=0.02, regularisation=2.5, view="strict", feedback="total")
    assert learner == wanted


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--alpha", "-1"), "alpha is -1.0, expected"),
        (("--alpha", "nan"), "alpha is nan, expected"),
        (("--beta", "-0.1"), "beta_s is -0.1, expected"),
        (("--regularisation", "0"), "regularisation is 0.0, expected"),
        (("--feedback", "total"), "it needs link 'learned'"),
        (("--policy", "best"), "there is no policy 'best': choose from fedlinucb_dw"),
        (("--source", ""), "--source is empty: give crops"),
    ],
)
def test_a_setting_of_a_device_that_cannot_work_is_one_sentence(
    arguments: tuple[str, ...], words: str
) -> None:
    result = _cans("device", *arguments)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert result.stderr.startswith("cans: ")
    assert words in result.stderr


@pytest.mark.parametrize("flag", ["--view", "--feedback"])
def test_an_unknown_word_is_told_with_the_words_that_there_are(flag: str) -> None:
    result = _cans("device", flag, "best")
    assert result.exit_code == 2
    assert f"'{flag}'" in result.stderr
    assert "'best' is not one of" in result.stderr


def test_a_part_of_a_command_has_variables_of_its_own_and_no_section_of_another_command(file: Path) -> None:
    tables = {"testbed": {"quiet": True}}
    command = main.get_command(click.Context(main), "testbed")
    assert command is not None
    root = click.Context(main)
    assert settings_of(tables, click.Context(command, parent=root)) == {"quiet": True}
    part = click.Context(command, parent=click.Context(click.Group("doctor"), parent=root))
    assert settings_of(tables, part) == {}
    file.write_text('[device]\nid = "x"\n')
    env = {"CANS_DOCTOR_BROKER_JSON": "1"}
    assert _settings("doctor", "broker", env=env)["json"] == ("True", "environment CANS_DOCTOR_BROKER_JSON")
    assert _settings("doctor", "testbed", env=env)["json"] == ("False", "default")


def test_no_two_commands_share_a_variable_that_neither_shares_on_purpose() -> None:
    """The broker's and the log's are everybody's, and the folder of models is one a machine's."""
    shared = ("CANS_CONFIG", "CANS_LOG_", "CANS_MODELS_DIR", "CANS_EXPLORE", "CANS_BROKER")
    seen: dict[str, str] = {}
    root = click.Context(main)

    def look(command: click.Command, path: str) -> None:
        for option in command.params:
            variable = str(option.envvar or "")
            if variable and not variable.startswith(shared):
                assert seen.setdefault(variable, path) == path, variable
        if isinstance(command, click.Group):
            for name in command.list_commands(root):
                part = command.get_command(root, name)
                assert part is not None
                look(part, f"{path} {name}")

    look(main, "cans")
    assert len(seen) > 200
