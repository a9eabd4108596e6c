"""What a person got wrong: one sentence that says what to do, exit code 2, no traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.broker import need_mosquitto
from tests.support.site import Site, free_port, site

pytestmark = pytest.mark.system


def _refused(
    folder: Path,
    *arguments: str,
    env: dict[str, str] | None = None,
    program: tuple[str, ...] = ("-m", "cans"),
) -> str:
    """Run `cans ARGUMENTS`, which must end by itself with exit code 2; return its sentence."""
    done = subprocess.run(
        [sys.executable, *program, *arguments],
        cwd=folder,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    # Log lines before it are fine; the last line is the sentence.
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("cans: ")
    return last


@pytest.mark.parametrize("role", ["device", "edge", "aggregator", "watch"])
def test_wrong_port(tmp_path: Path, role: str) -> None:
    said = _refused(tmp_path, role, "--broker", f"mqtt://127.0.0.1:{free_port()}")
    assert "nobody listens at" in said
    assert "cans broker" in said


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    need_mosquitto()
    with site(tmp_path) as here:
        here.broker()
        assert str(here.port) in _refused(tmp_path, "broker", "--port", str(here.port))


def _secure(here: Site, configuration: str) -> None:
    """Start a broker with TLS."""
    need_mosquitto()
    if configuration == "password":
        state = here.folder / "broker-state"
        state.mkdir()
        subprocess.run(["mosquitto_passwd", "-b", "-c", state / "passwords", "eye", "right"], check=True)
    secure = ("--mode", configuration, "--identity", "watcher/eye")
    here.start("broker", "broker", "--port", str(here.port), "--state-dir", "broker-state", *secure)
    here.until(here.listening, "the broker listens")


def test_wrong_certificates(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        _secure(here, "secure")
        url = f"mqtts://127.0.0.1:{here.port}"
        # The broker's certificate is signed by a CA that this system does not know.
        assert "certificate" in _refused(tmp_path, "watch", "--broker", url)
        ca = str(tmp_path / "broker-state" / "ca" / "ca.pem")
        # The broker lets nobody in without a certificate of a client.
        assert "certificate" in _refused(tmp_path, "watch", "--broker", url, "--ca", ca, "--seconds", "5")
        assert "give an existing PEM file" in _refused(tmp_path, "watch", "--broker", url, "--ca", "no.pem")


def test_wrong_password(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        _secure(here, "password")
        ca = str(tmp_path / "broker-state" / "ca" / "ca.pem")
        said = _refused(
            tmp_path,
            *("watch", "--broker", f"mqtts://eye@127.0.0.1:{here.port}", "--ca", ca),
            env={"CANS_BROKER_PASSWORD": "wrong"},
        )
        assert "password" in said


def test_unreadable_images_and_a_type_that_the_aggregator_refuses(tmp_path: Path) -> None:
    """One broker for the mistakes of devices: each start of a device takes seconds."""
    need_mosquitto()
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "broken.jpg").write_bytes(b"no image at all")
    with site(tmp_path) as here:
        here.broker()
        here.start(
            "aggregator", "aggregator", "--broker", here.url, "--state-dir", "a", "--refuse-unknown-types"
        )
        here.edge()
        broker = ("--broker", here.url)
        said = _refused(tmp_path, "device", "--source", str(photos), "--warm-start", "0", *broker)
        assert "broken.jpg" in said
        said = _refused(tmp_path, "device", "--source", "no/such/place", "--warm-start", "0", *broker)
        assert "there is no no/such/place" in said
        said = _refused(tmp_path, "device", "--id", "one", "--type", "pi4", "--warm-start", "1", *broker)
        assert "pi4" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("device", "--id", "one", "--type", "pi4"),
        ("edge",),
        ("aggregator",),
        ("broker", "--port", "0"),
        ("broker", "--port", "0", "--mode", "secure", "--identity", "edge/one"),
    ],
    ids=" ".join,
)
def test_a_disk_that_takes_nothing_more(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    need_mosquitto()
    # A file may not grow beyond nothing: what a full disk does, without filling one.
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); "
        "from cans.__main__ import main; sys.exit(main(prog_name='cans'))"
    )
    with site(tmp_path) as here:
        here.broker()
        state = ("--state-dir", str(tmp_path / "full"))
        broker = () if arguments[0] == "broker" else ("--broker", here.url)
        said = _refused(tmp_path, *arguments, *state, *broker, program=("-c", code))
    assert str(tmp_path / "full") in said
    assert "choose another" in said or "give a folder" in said


def test_two_devices_of_one_id(tmp_path: Path) -> None:
    need_mosquitto()
    with site(tmp_path) as here:
        here.broker()
        for name in ("first", "second"):
            device = ("device", "--id", "twin", "--type", "pi4", "--warm-start", "0", "--wait-edge-s", "600")
            here.start(name, *device, "--broker", here.url)
        here.until_one_of(("first", "second"))
        ended = next(name for name in ("first", "second") if here.processes[name].poll() is not None)
        assert here.processes[ended].returncode == 2
        assert "Traceback" not in here.log(ended)
        last = here.log(ended).strip().splitlines()[-1]
        assert last.startswith("cans: ")
        assert "id" in last


@pytest.mark.parametrize("option", [("--emulate", "no.json"), ("--slowness", "4")])
def test_an_emulation_that_cannot_be(tmp_path: Path, option: tuple[str, str]) -> None:
    assert "cans profile" in _refused(tmp_path, "device", *option)
