"""`cans doctor broker`: each planted line of a mosquitto configuration is found, and ours have no fault."""

import json
import os
import pwd
import string
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from bus.errors import ConfigurationError
from cans.__main__ import main as command_line
from cans.broker.files import render, template_folder
from cans.doctors.broker_config import examine
from cans.doctors.findings import Finding

LISTENER = "listener 8883\nallow_anonymous false\nacl_file /a\ncertfile /c\nkeyfile /k\n"
WELL = """\
persistence true
persistence_location /var/lib/mosquitto/
autosave_on_changes true
autosave_interval 1
set_tcp_nodelay true
max_packet_size 8388608
max_queued_messages 50
max_queued_bytes 67108864
persistent_client_expiration 7d
"""


@pytest.fixture(autouse=True)
def _saved_by_mosquitto(tmp_path: Path) -> None:
    """Where the configurations save: a folder that any user may write."""
    (tmp_path / "saved").mkdir(mode=0o777)
    (tmp_path / "saved").chmod(0o777)


def _read(folder: Path, text: str) -> list[Finding]:
    path = folder / "mosquitto.conf"
    path.write_text(text.replace("/var/lib/mosquitto/", f"{folder}/saved/"))
    return examine(path)


def _amiss(findings: Sequence[Finding]) -> set[str]:
    return {each.name for each in findings if not each.ok}


@pytest.mark.parametrize("configuration", ["dev", "secure", "password"])
def test_what_cans_broker_writes_has_no_fault(configuration: str, tmp_path: Path) -> None:
    findings = _read(tmp_path, render(configuration, host="0.0.0.0", port=8883, state_dir=tmp_path))
    open_to_all = {"in clear on the network", "open to everybody", "without access rules"}
    assert _amiss(findings) == (open_to_all if configuration == "dev" else set())


def test_a_development_broker_on_loopback_has_no_fault(tmp_path: Path) -> None:
    text = render("dev", host="127.0.0.1", port=1883, state_dir=tmp_path)
    assert _amiss(_read(tmp_path, text)) == set()


@pytest.mark.parametrize(
    ("line", "instead", "name"),
    [
        ("persistence true", "", "what outlives a restart"),
        ("autosave_interval 1", "autosave_interval 0", "how often it is saved"),
        ("autosave_interval 1", "", "how often it is saved"),
        ("autosave_on_changes true\nautosave_interval 1", "autosave_interval 60", "how often it is saved"),
        ("persistence_location /var/lib/mosquitto/", "", "where it is saved"),
        ("set_tcp_nodelay true", "# set_tcp_nodelay true", "small packets"),
        ("max_packet_size 8388608", "max_packet_size 100000", "the largest packet"),
        ("max_packet_size 8388608", "", "the largest packet"),
        ("max_packet_size 8388608", "max_packet_size 8388608\nmessage_size_limit 9", "the largest packet"),
        ("max_packet_size 8388608", "max_packet_size 8388608\nretain_available 0", "retained messages"),
        ("max_queued_bytes 67108864", "max_queued_messages 1000", "what is held for one who reads slowly"),
        ("max_queued_messages 50", "max_queued_messages 0\nmax_queued_bytes 0",
         "what is held for one who reads slowly"),
        ("persistent_client_expiration 7d", "", "sessions of those who are gone"),
        ("certfile /c", "", "in clear on the network"),
        ("allow_anonymous false", "allow_anonymous true", "open to everybody"),
        ("allow_anonymous false", "allow_anonymous 1", "open to everybody"),
        ("acl_file /a", "plugin /usr/lib/mosquitto_password_file.so", "without access rules"),
        ("acl_file /a", "", "without access rules"),
    ],
)  # fmt: skip
def test_a_planted_line_is_found_and_no_other(line: str, instead: str, name: str, tmp_path: Path) -> None:
    whole = WELL + LISTENER
    assert line in whole
    text = whole.replace("max_queued_bytes 67108864\n", "") if "max_queued" in instead else whole
    findings = _read(tmp_path, text.replace(line, instead))
    found = _amiss(findings) if "max_queued" not in instead else _amiss(_read(tmp_path, text + instead))
    assert found == {name}
    assert all(each.mend for each in findings)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes folders of root")
def test_a_folder_that_the_brokers_user_cannot_write_is_found(tmp_path: Path) -> None:
    """Mosquitto that root starts becomes another user; what it cannot save, it says in its log alone."""
    place = tmp_path / "theirs"
    text = WELL.replace("/var/lib/mosquitto/", f"{place}/") + LISTENER + "user nobody\n"
    findings = {each.name: each for each in _read(tmp_path, text)}
    assert findings["where it is saved"].found == f"{place}/, which is not there"
    place.mkdir(mode=0o755)
    findings = {each.name: each for each in _read(tmp_path, text)}
    assert findings["where it is saved"].found == f"{place}/, not nobody's"
    assert "chown" in findings["where it is saved"].mend
    place.chmod(0o777)
    assert _amiss(_read(tmp_path, text)) == set()
    place.chmod(0o755)
    for user in ("root", "no-such-user-here"):  # root may; of who is unknown here nobody can tell
        assert _amiss(_read(tmp_path, text.replace("user nobody", f"user {user}"))) == set()
    os.chown(place, pwd.getpwnam("nobody").pw_uid, -1)
    assert _amiss(_read(tmp_path, text)) == set()


def test_folders_that_it_includes_are_read_in_their_place_and_the_last_word_counts(tmp_path: Path) -> None:
    more = tmp_path / "conf.d"
    more.mkdir()
    (more / "b.conf").write_text("autosave_interval 3\n")
    (more / "A.conf").write_text("autosave_interval 60\n")
    findings = _read(tmp_path, f"{WELL}include_dir {more}\n{LISTENER}")
    assert _amiss(findings) == set()
    assert "after 3 changes" in {each.found for each in findings}


def test_an_included_file_has_sections_of_its_own(tmp_path: Path) -> None:
    """What it says of TLS is not of the listener that stands before the line that includes it."""
    more = tmp_path / "conf.d"
    more.mkdir()
    (more / "tls.conf").write_text("certfile /c\nkeyfile /k\n")
    plain = LISTENER.replace("certfile /c\nkeyfile /k\n", "")
    findings = {each.name: each for each in _read(tmp_path, f"{WELL}{plain}include_dir {more}\n")}
    assert findings["in clear on the network"].found == "every address:8883"


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("bind_address 0.0.0.0\n", "0.0.0.0:1883"),
        ("port 1884\n", "every address:1884"),
        ("port 1884\nbind_address 127.0.0.1\n", "nowhere beyond this machine"),
        ("certfile /c\nport 8883\n", "nowhere beyond this machine"),
        ("certfile /c\nlistener 1885 0.0.0.0 # lan\n", "0.0.0.0:1885"),
    ],
)
def test_the_listener_without_a_line_of_its_own_is_one_too(lines: str, found: str, tmp_path: Path) -> None:
    findings = {each.name: each for each in _read(tmp_path, WELL + lines)}
    assert findings["in clear on the network"].found == found


def test_the_plugins_of_2_1_are_access_rules(tmp_path: Path) -> None:
    text = (template_folder() / "secure-2.1.conf").read_text() + (
        template_folder() / "common.conf"
    ).read_text()
    values = {"host": "0.0.0.0", "port": "8883", "state_dir": str(tmp_path), "user_line": "user root"}
    assert _amiss(_read(tmp_path, string.Template(text).safe_substitute(values))) == set()


def test_what_mosquitto_would_not_start_with_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="a tab is behind autosave_interval"):
        _read(tmp_path, "autosave_interval\t3\n")
    with pytest.raises(ConfigurationError, match="no folder"):
        _read(tmp_path, f"include_dir {tmp_path}/absent\n")


def test_each_listener_may_have_its_own_rules(tmp_path: Path) -> None:
    """One behind a door of its own does not speak for the other; loopback and Unix sockets need none."""
    text = f"per_listener_settings true\n{WELL}listener 1883 127.0.0.1\nallow_anonymous true\n"
    text += f"listener 0 /run/mosquitto.sock\n{LISTENER}"
    assert _amiss(_read(tmp_path, text)) == set()
    shut = {each.name: each for each in _read(tmp_path, f"{text}listener 9001\nallow_anonymous true\n")}
    for name in ("in clear on the network", "open to everybody", "without access rules"):
        assert (shut[name].ok, shut[name].found) == (False, "every address:9001")


def test_without_a_listener_it_is_loopback_alone(tmp_path: Path) -> None:
    assert _amiss(_read(tmp_path, WELL)) == set()


def test_the_command_reads_a_file_and_says_what_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "mosquitto.conf").write_text(WELL.replace("set_tcp_nodelay true", ""))
    run = CliRunner().invoke(command_line, ["doctor", "broker", str(tmp_path / "mosquitto.conf"), "--json"])
    assert run.exit_code == 0
    said = {each["name"]: each for each in json.loads(run.output)["findings"]}
    assert "set_tcp_nodelay true" in said["small packets"]["mend"]
    run = CliRunner().invoke(command_line, ["doctor", "broker", str(tmp_path / "absent.conf")])
    assert run.exit_code == 2
    assert "cannot read" in run.output
    (tmp_path / "no.conf").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="no text"):
        examine(tmp_path / "no.conf")
