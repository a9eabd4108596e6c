"""The command line as a person meets it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cans.__main__ import Commands, main
from cans.version import __version__
from device.policy_names import NAMES as POLICIES
from partition.profiles.profile_file import read_profile

NAMES = [
    "demo",
    "broker",
    "aggregator",
    "edge",
    "device",
    "watch",
    "models",
    "profile",
    "simulate",
    "compare",
    "doctor",
    "completion",
    "version",
]


def test_help_lists_every_command_with_a_sentence() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    listed = [
        line.split()[0] for line in result.output.partition("Commands:")[2].splitlines() if line[:4].strip()
    ]
    assert [name for name in listed if name in NAMES] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_help_teaches(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert f"cans {name}" in result.output
    assert "--config" in result.output
    assert "--show-settings" in result.output
    assert "Exit codes" in result.output
    if name != "version":
        assert "Examples:" in result.output
    if name not in {"version", "doctor", "completion"}:  # they have nothing to set
        assert "default" in result.output


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("cans recordi", "recording"), ("cans record --rot", "--rotate"), ("cans broker --mode s", "secure")],
)
def test_bash_completes_commands_options_and_choices(typed: str, offered: str, tmp_path: Path) -> None:
    script = CliRunner().invoke(main, ["completion", "bash"]).output
    words = typed.split()
    line = (
        f"{script}\nCOMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}\n"
        "_cans_completion cans\nprintf '%s\\n' \"${COMPREPLY[@]}\""
    )
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=False, env={"PATH": path}
    )
    assert done.stdout.split() == [offered], done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_their_script(shell: str) -> None:
    done = CliRunner().invoke(main, ["completion", shell])
    assert (done.exit_code, "_CANS_COMPLETE" in done.output) == (0, True)


@pytest.mark.parametrize("arguments", [["--help"], ["device", "--help"], ["watch", "--help"], ["version"]])
def test_what_needs_no_torch_loads_none(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from cans.__main__ import main\n"
        f"assert CliRunner().invoke(main, {arguments}).exit_code == 0\n"
        "import cans.watch\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "slow = {'torch', 'matplotlib', 'scipy', 'skimage', 'partition', 'bandits', 'edge'}\n"
        "assert not loaded & slow, loaded\n"
        "roles = {name for name in sys.modules if name.startswith('device.')}\n"
        "assert roles <= {'device.policy_names'}, roles\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_help_of_a_device_names_every_policy() -> None:
    words = CliRunner().invoke(main, ["device", "--help"]).output.replace(",", " ").replace(".", " ").split()
    assert set(POLICIES) <= set(words)


def test_a_command_that_does_not_exist_is_exit_2() -> None:
    result = CliRunner().invoke(main, ["devcie"])
    assert result.exit_code == 2
    assert isinstance(main, Commands)


def test_a_profile_is_written_shown_and_printed(tmp_path: Path) -> None:
    out = tmp_path / "tiny.json"
    command = ["profile", "tests.support.tiny_network:make", "--repeats", "3", "--out", str(out)]
    shown = CliRunner().invoke(main, command)
    assert shown.exit_code == 0, shown.output
    assert "whole network" in shown.stdout
    assert "conv2d" in shown.stdout.lower()
    assert "not to be trusted: 3 rounds are too few" in shown.stderr
    first = read_profile(out)
    printed = CliRunner().invoke(main, [*command, "--json", "--codecs", "uint8,int8-zstd", "--threads", "2"])
    assert printed.exit_code == 0, printed.output
    assert printed.stdout == out.read_text()
    second = read_profile(out)
    assert (second.model, second.conditions.threads) == (first.model, 2)
    assert second.schema != first.schema


def test_a_profile_that_could_not_be_written_is_not_measured(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["profile", "--out", str(tmp_path / "nowhere" / "x.json")])
    assert result.exit_code == 2
    assert result.stderr == (
        f"cans: --out {tmp_path}/nowhere/x.json cannot be written: make the folder {tmp_path}/nowhere first\n"
    )


def test_version_says_what_it_runs_with() -> None:
    found = json.loads(CliRunner().invoke(main, ["version", "--json"]).output)
    assert found["cans"] == __version__
    assert found["torch"] != "-"
    assert __version__ in CliRunner().invoke(main, ["version"]).output
    assert __version__ in CliRunner().invoke(main, ["--version"]).output


def test_python_dash_m_cans_is_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cans", "version", "--json"], capture_output=True, check=True, timeout=60
    )
    assert json.loads(done.stdout)["cans"] == __version__
