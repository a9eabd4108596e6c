"""The demo, whole, with few frames; and what it leaves behind when it is told to stop."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from bus.address import BrokerAddress
from bus.connection import Delivery, Endpoint
from bus.mqtt import open_connection
from tests.support.broker import need_mosquitto
from tests.support.site import site

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]


def _demo(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cans", "demo", "--no-live", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_report_holds_what_was_promised(tmp_path: Path) -> None:
    demo = _demo(tmp_path, "--frames", "8", "--seed", "5", "--report", "report.json")
    out, err = demo.communicate(timeout=220)
    assert demo.returncode == 0, err
    report = json.loads((tmp_path / "report.json").read_text())
    frames, statistics = report["frames"], report["statistics"]
    # Four devices, five policies, eight frames.
    assert frames["sent"] == frames["answered"] == 4 * 5 * 8
    assert sum(frames["answered_by"].values()) == frames["answered"]
    assert set(frames["answered_by"]) == {"device", "edge", "fallback"}
    assert statistics["sent"] == statistics["merged"] >= 4
    for figures in report["types"].values():
        assert {
            "learned",
            "learned_whole",
            "device_only",
            "edge_only_uint8",
            "edge_only_jpeg",
            "two_arm",
        } == set(figures)
        assert figures["learned"]["frames"] == 2 * 4
        assert figures["device_only"]["frames"] == 2 * 4
        assert all({"mean_ms", "p50_ms", "p95_ms", "frames"} == set(row) for row in figures.values())
        assert all(row["mean_ms"] > 0.0 for row in figures.values())
    assert report["seed"] == 5
    assert report["versions"]["cans"]
    assert "seeded" in report["emulated"]["weights"]
    assert set(report["emulated"]["links"]) == set(report["types"])
    assert (tmp_path / "out" / "demo.png").read_bytes()[:4] == b"\x89PNG"
    assert "emulated" in out


def _family(demo: subprocess.Popen[str], at_least: int) -> list[psutil.Process]:
    """Everything it has started, once there is so much of it."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        found = psutil.Process(demo.pid).children(recursive=True)
        if len(found) >= at_least:
            return found
        time.sleep(0.05)
    raise AssertionError("the demo did not start its processes")


def test_ctrl_c_leaves_no_process_behind(tmp_path: Path) -> None:
    demo = _demo(tmp_path, "--frames", "50")
    # Broker, links, aggregator, edge worker, four devices.
    family = _family(demo, 8)
    demo.send_signal(signal.SIGINT)
    _, err = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert "Traceback" not in err
    assert not [each for each in family if each.is_running()]


async def _retained(port: int, wanted: Callable[[list[str]], bool]) -> None:
    """Wait until the topics that a broker keeps are those wanted, as somebody new sees them."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        found: list[str] = []
        listener = Endpoint("cans-test-listener", subscriptions=(("#", 0),))
        async with open_connection(BrokerAddress("127.0.0.1", port), listener) as connection:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    async for event in connection.events():
                        if isinstance(event, Delivery) and event.retained:
                            found.append(event.topic)  # noqa: PERF401 - kept when the time is up
        if wanted(found):
            return
    raise AssertionError(found)


def test_a_process_that_dies_is_named_and_all_others_end_and_the_broker_is_left_clean(tmp_path: Path) -> None:
    need_mosquitto()
    with site(tmp_path) as here:
        here.broker()
        demo = _demo(tmp_path, "--frames", "50", "--broker", here.url)
        family = _family(demo, 7)
        asyncio.run(_retained(here.port, lambda topics: len(topics) >= 2))
        edge = next(each for each in family if "edge" in each.cmdline())
        os.kill(edge.pid, signal.SIGKILL)
        _, err = demo.communicate(timeout=60)
        assert demo.returncode == 1
        assert "edge ended with code -9" in err
        assert "edge.log" in err
        assert "Traceback" not in err
        assert not [each for each in family if each.is_running()]
        asyncio.run(_retained(here.port, lambda topics: topics == []))
