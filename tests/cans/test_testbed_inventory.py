"""An inventory from its file, and a sentence for each that is none."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from bus.errors import ConfigurationError
from cans.__main__ import main
from cans.testbed.ground import PREFIX
from cans.testbed.inventory import read_inventory

_DEVICES = """
[[devices]]
id = "cam-1"
type = "camera"
[[devices]]
id = "cam-2"
type = "camera"
[[devices]]
id = "gate"
type = "gateway"
"""
_BROKER = '[broker]\nurl = "mqtt://laptop.local"\n'


def _write(folder: Path, text: str) -> Path:
    path = folder / "boards.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_inventory_names_broker_and_devices(tmp_path: Path) -> None:
    found = read_inventory(_write(tmp_path, _BROKER + _DEVICES))
    assert found.broker.url == "mqtt://laptop.local:1883"
    assert found.ids == {"camera": ["cam-1", "cam-2"], "gateway": ["gate"]}
    assert (found.prefix, found.running, found.login) == (PREFIX, frozenset(), ())
    assert read_inventory(tmp_path / "boards.toml", "mqtt://10.0.0.1:1884").broker.port == 1884


def test_logins_are_looked_for_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "word").write_text("secret\n")
    text = 'edge="running"\naggregator="running"\nprefix="plant/lab"\n[broker]\n'
    text += 'url="mqtts://coordinator%2Fmain@b"\nca="ca.pem"\npassword_file="word"\n'
    found = read_inventory(_write(tmp_path, text + _DEVICES))
    assert (found.broker.username, found.broker.password) == ("coordinator/main", "secret")
    assert found.broker.ca == tmp_path / "ca.pem"
    assert found.login == ("--ca", str(tmp_path / "ca.pem"), "--password-file", str(tmp_path / "word"))
    assert found.running == {"edge", "aggregator"}
    assert found.prefix == "plant/lab"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nonsense", "is no TOML"),
        (_BROKER, "is no inventory: .*devices"),
        (_BROKER + _DEVICES + 'color="red"', "is no inventory: .*color"),
        ('edge="there"\n' + _BROKER + _DEVICES, "is no inventory: .*edge"),
        ('prefix="/x"\n' + _BROKER + _DEVICES, "is no inventory: .*prefix"),
        (_DEVICES, "no broker: write"),
        (_BROKER + _DEVICES + '[[devices]]\nid="cam-1"\ntype="gateway"', "'cam-1' is named twice"),
        (_BROKER + '[[devices]]\nid="Cam"\ntype="camera"', "device id 'Cam' will not do"),
        (_BROKER + f'[[devices]]\nid="{"a" * 40}"\ntype="camera"', "is too long: 32 characters"),
        ('[broker]\nurl="http://x"\n' + _DEVICES, "is not an address"),
        ('[broker]\nurl="mqtts://x"\ncert="c"\nkey="k"\n' + _DEVICES, "start both yourself"),
        ('[broker]\nurl="mqtts://coordinator%2Fmain@x"\n' + _DEVICES, "start both yourself"),
    ],
)
def test_what_is_no_inventory_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=f"boards.toml.*{sentence}"):
        read_inventory(_write(tmp_path, text))


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read the inventory"):
        read_inventory(tmp_path / "boards.toml")


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--mode", "hardware"], "go together"),
        (["--inventory", "boards.toml"], "go together"),
        (["--broker", "mqtt://x"], "--broker is for --mode hardware"),
    ],
)
def test_a_mode_and_its_files_go_together(tmp_path: Path, more: list[str], sentence: str) -> None:
    done = CliRunner().invoke(main, ["testbed", str(tmp_path / "none.toml"), *more])
    assert (done.exit_code, sentence in done.output) == (2, True)
