"""How a role ends: by itself, by SIGTERM, by Ctrl-C, with its terminal; and where its log goes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cans.watchdog import period_s

_ROLE = """
import asyncio, signal, sys
# Whoever runs the tests may have told their children to ignore some, as nohup does.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
from cans.running import run
from cans.settings import Command
import click

async def role():
    print("up", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        print("said goodbye", flush=True)

@click.command("role", cls=Command)
def role_command():
    run(role)

role_command()
"""


@pytest.mark.parametrize(("signal", "code"), [(15, 0), (2, 130), (1, 0)])
def test_a_signal_is_a_clean_stop(signal: int, code: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _ROLE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (code, "said goodbye\n", "")


def test_a_role_leaves_no_numerical_threads_spinning() -> None:
    """A learner's select must not wake threads that then take the cores from the network (ADR 9)."""
    code = (
        "import time, numpy as np, scipy.linalg\n"
        "from cans.running import run\n"
        "async def role():\n"
        # Each of these wakes OpenBLAS's threads where it may.
        "    scipy.linalg.lapack.dtrtrs(np.eye(64, order='F'), np.ones((64, 200), order='F'))\n"
        "    np.ones((300, 300)) @ np.ones((300, 300))\n"
        "    before = time.process_time()\n"
        "    time.sleep(0.5)\n"
        "    print(time.process_time() - before)\n"
        "run(role)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    # Spinning, they take 40 ms and more, as long as the machine has a second core at all.
    assert float(done.stdout) < 0.01


def _logged(*arguments: str) -> list[str]:
    code = (
        "import logging, structlog\n"
        "from cans.logs import configure_logs\n"
        f"configure_logs({', '.join(arguments)})\n"
        "log = structlog.get_logger('x')\n"
        "log.debug('fine'); log.info('frame', seq=3)\n"
        "logging.getLogger('library').warning('odd')\n"
        "try: 1 / 0\n"
        "except ZeroDivisionError: log.exception('broke')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_json_logs_are_one_object_a_line() -> None:
    lines = [json.loads(line) for line in _logged("style='json'")]
    assert [line["event"] for line in lines] == ["frame", "odd", "broke"]
    assert lines[0]["seq"] == 3
    assert lines[1]["level"] == "warning"
    assert "ZeroDivisionError" in lines[2]["exception"]


def test_text_logs_are_for_people_and_the_level_counts() -> None:
    text = "\n".join(_logged("level='warning'"))
    assert "frame" not in text
    assert "odd" in text
    assert "ZeroDivisionError" in text
    assert "fine" in "\n".join(_logged("level='debug'"))


_BLOCKED = """
import asyncio, sys, time
from cans.running import run

async def role():
    await asyncio.sleep(1.0)
    print("blocks", flush=True)
    time.sleep(1.0)
    print("goes on", flush=True)
    await asyncio.sleep(1.0)

run(role)
"""


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_while_the_loop_turns_and_not_while_it_is_blocked(
    tmp_path: Path, abstract: bool
) -> None:
    name = f"@cans-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name[1:] if abstract else name)
        systemd.settimeout(0.05)
        environment = {**os.environ, "NOTIFY_SOCKET": name, "WATCHDOG_USEC": "300000"}
        command = [sys.executable, "-c", _BLOCKED]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "blocks\n"
            assert _waiting(systemd) >= 3
            assert process.stdout.readline() == "goes on\n"
            assert _waiting(systemd) <= 1  # what it had sent before it was blocked
            assert process.wait(30.0) == 0
            assert _waiting(systemd) >= 2


def _waiting(systemd: socket.socket) -> int:
    """Take what was sent so far; return how often the loop was said to turn."""
    count = 0
    while True:
        try:
            assert systemd.recv(100) == b"WATCHDOG=1"
        except TimeoutError:
            return count
        count += 1


@pytest.mark.parametrize(
    ("environment", "within_s"),
    [
        ({"WATCHDOG_USEC": "30000000", "NOTIFY_SOCKET": "/s"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "NOTIFY_SOCKET": "/s", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "NOTIFY_SOCKET": "/s", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "30000000"}, None),
        ({"WATCHDOG_USEC": "soon", "NOTIFY_SOCKET": "/s"}, None),
        ({"WATCHDOG_USEC": "0", "NOTIFY_SOCKET": "/s"}, None),
        ({}, None),
    ],
)
def test_only_who_is_asked_tells(environment: dict[str, str], within_s: float | None) -> None:
    assert period_s(environment, 7) == within_s
