"""How a role ends: by itself, by SIGTERM, by Ctrl-C, with its terminal; and where its log goes."""

import json
import subprocess
import sys

import pytest

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
