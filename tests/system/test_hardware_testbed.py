"""A testbed on devices that somebody else has started: two coordinators, one after the other and at once."""

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from bus.address import BrokerAddress
from cans.broker.places import free_port
from cans.testbed.hardware import run_line
from cans.testbed.inventory import read_inventory
from lab.simulator.experiment import load
from lab.testbed.plan import Plan
from tests.support.broker import need_mosquitto

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

_HERE = Path(__file__).parents[2]
_EXPERIMENT = """
title = "Boards"
seeds = 1
settle_frames = 2

[testbed]
model = "tests.support.tiny_network:make"
codecs = ["uint8", "jpeg"]
block_frames = 2

[world]
frames = 4
fps = 20.0
deadline_ms = 3000.0

[[world.types]]
name = "camera"
devices = 2
slowness = 5.0
link = { kind = "constant", mbit_s = 50.0 }

[policies.default]
[policies.ans]
[policies.neurosurgeon]
[policies.device_only]
[policies.edge_only_jpeg]
"""
_INVENTORY = """
[broker]
url = "{url}"
[[devices]]
id = "hall"
type = "camera"
[[devices]]
id = "kitchen"
type = "camera"
"""


def _files(folder: Path, broker: BrokerAddress) -> None:
    (folder / "boards.toml").write_text(_EXPERIMENT)
    (folder / "inventory.toml").write_text(_INVENTORY.format(url=broker.url))


def _cans(folder: Path, out: str, *more: str) -> list[str]:
    files = (str(folder / "boards.toml"), "--inventory", str(folder / "inventory.toml"))
    wanted = ("testbed", *files, "--mode", "hardware", "--out", str(folder / out), "--quiet")
    return [sys.executable, "-m", "cans", *wanted, *more]


def _play(folder: Path, out: str, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _cans(folder, out, *more), cwd=_HERE, capture_output=True, text=True, timeout=300, check=False
    )


@contextlib.contextmanager
def _devices(
    folder: Path, *names: str, more: tuple[str, ...] = ()
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start what the coordinator tells people to start."""
    inventory = read_inventory(folder / "inventory.toml")
    plan = Plan(load(folder / "boards.toml"), inventory.ids)
    lines = [run_line(plan, device, inventory) for device in plan.devices if device.name in names]
    with contextlib.ExitStack() as stack:
        started = []
        for name, line in zip(names, lines, strict=True):
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            command = [sys.executable, "-m", *shlex.split(line), *more]
            started.append(subprocess.Popen(command, cwd=_HERE, stdout=log, stderr=log))
        try:
            yield started
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(timeout=30)


def _summary(folder: Path, out: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / out / "summary.json").read_text())
    return found


@contextlib.contextmanager
def _site(folder: Path) -> Iterator[None]:
    """Run a broker, as a person does, and write what names it."""
    need_mosquitto()
    port = free_port()
    command = [sys.executable, "-m", "cans", "broker", "--port", str(port), "--prefix", "cans/testbed"]
    with (folder / "broker.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=_HERE, stdout=log, stderr=log)
    try:
        _until(lambda: b"at mqtt://" in (folder / "broker.log").read_bytes(), process)
        _files(folder, BrokerAddress("127.0.0.1", port))
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def _until(seen: Callable[[], bool], alive: subprocess.Popen[Any]) -> None:
    ends = time.monotonic() + 150
    while not seen() and time.monotonic() < ends:
        assert alive.poll() is None
        time.sleep(0.05)


def test_devices_outlive_one_coordinator_after_the_other(tmp_path: Path) -> None:
    with _site(tmp_path), _devices(tmp_path, "hall", "kitchen") as devices:
        for out in ("first", "second"):
            done = _play(tmp_path, out)
            assert done.returncode == 0, done.stderr
            assert "no prediction" in done.stderr
            assert [process.poll() for process in devices] == [None, None]
    report = _summary(tmp_path, "second")
    assert set(report["policies"]) == {"default", "ans", "neurosurgeon", "device_only", "edge_only_jpeg"}
    assert all(row["answered"]["mean"] == 1.0 for row in report["policies"].values())
    assert report["policies"]["edge_only_jpeg"]["payload_bytes"]["mean"] > 0.0
    assert report["predicted"] == {}
    said = report["provenance"]
    assert (said["mode"], set(said["machines"])) == ("hardware", {"hall", "kitchen"})
    assert said["emulated"].startswith("nothing")
    page = (tmp_path / "second" / "report.html").read_text()
    assert "mode hardware" in page
    assert "its own link as it is" in page
    assert "slowness of devices" not in page
    assert "times slower than this machine" not in page
    for name in ("hall", "kitchen"):
        assert "another_coordinator" in (tmp_path / f"{name}.log").read_text()


def test_who_does_not_come_is_named_with_what_to_run_there(tmp_path: Path) -> None:
    with _site(tmp_path), _devices(tmp_path, "hall"):
        done = _play(tmp_path, "out")
    assert (done.returncode, done.stderr.count("Traceback")) == (2, 0)
    assert "no answer from kitchen at mqtt://127.0.0.1" in done.stderr
    assert "    cans device --lab --id kitchen --type camera --broker mqtt://127.0.0.1" in done.stderr
    assert "--id hall" not in done.stderr


def test_a_second_coordinator_ends_and_one_that_was_killed_is_succeeded(tmp_path: Path) -> None:
    with _site(tmp_path), _devices(tmp_path, "hall", "kitchen"):
        with subprocess.Popen(_cans(tmp_path, "first", "--set", "world.frames=4000"), cwd=_HERE) as first:
            _until((tmp_path / "first" / "logs" / "site-1" / "edge.log").exists, first)
            second = _play(tmp_path, "second")
            assert (second.returncode, second.stderr.count("Traceback")) == (1, 0), second.stderr
            assert "plays for another coordinator" in second.stderr
            assert first.poll() is None
            first.kill()
        third = _play(tmp_path, "third")
        assert third.returncode == 0, third.stderr
    assert _summary(tmp_path, "third")["policies"]["default"]["answered"]["mean"] == 1.0


def test_ctrl_c_lets_the_devices_go(tmp_path: Path) -> None:
    with _site(tmp_path), _devices(tmp_path, "hall", "kitchen"):
        command = _cans(tmp_path, "first", "--seeds", "50")
        with subprocess.Popen(command, cwd=_HERE, stderr=subprocess.PIPE, text=True) as process:
            _until((tmp_path / "first" / "rounds" / "seed-001000.json").exists, process)
            children = psutil.Process(process.pid).children(recursive=True)
            os.kill(process.pid, signal.SIGINT)
            _, said = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "go on with --resume" in said
        assert psutil.wait_procs(children, timeout=20)[1] == []
        done = _play(tmp_path, "first", "--seeds", "1", "--resume")
        assert done.returncode == 0, done.stderr


def test_no_broker_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    _files(tmp_path, BrokerAddress("127.0.0.1", port))
    done = _play(tmp_path, "out")
    assert (done.returncode, done.stderr.count("Traceback")) == (2, 0)
    assert "nobody listens" in done.stderr
