"""What `cans dashboard` costs while somebody looks at it: its processor, and what it sends to the browser.

    python -m lab.bench.dashboard PORT DEVICES RATE SECONDS   # the publishing process: frames/s in all

The site is published by a process of its own, through mosquitto; the page is open in a headless Chromium,
without which only the flood is measured.
"""

import asyncio
import itertools
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from playwright.sync_api import Page, sync_playwright

from bus.address import BrokerAddress
from bus.connection import Endpoint
from bus.messages import Feedback, State
from bus.mqtt import open_connection
from bus.topics import FEEDBACK, STATE, Role, Topics
from bus.wire import encode
from lab.bench.rows import Row
from lab.transports.brokers import running

_MOST_SHARE = 5.0
_SITES = ((4, 8.0, "/"), (4, 8.0, "/device/cam-0"), (1000, 500.0, "/devices"))
_FLOOD_A_SECOND = 10_000.0
_MOST_UPDATES = 10.0
_SETTLE_S = 4.0
_TOPICS = Topics()
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def run(*, quick: bool) -> Iterator[Row]:
    """Measure; only the site of four devices has a limit."""
    seconds = 4.0 if quick else 20.0
    program = next(filter(None, map(shutil.which, _CHROMIUM)), None)
    with running("mosquitto") as broker:
        for devices, rate, view in _SITES if program else ():
            yield from _looked_at(broker.port, devices, rate, view, seconds, str(program))
        yield from _flooded(broker.port, seconds)


def _looked_at(
    port: int, devices: int, rate: float, view: str, seconds: float, program: str
) -> Iterator[Row]:
    with _dashboard(port) as (where, process), _site(port, devices, rate, seconds), _browser(program) as page:
        frames = _socket_frames(page)
        page.goto(where.rstrip("/") + view)
        time.sleep(_SETTLE_S)
        frames.clear()
        before, began = _cpu_s(process), time.monotonic()
        page.wait_for_timeout(1e3 * seconds)
        took = time.monotonic() - began
        share = 100.0 * (_cpu_s(process) - before) / took
    of = f"dashboard, {devices} devices, {rate:g} frames/s, {view}"
    limit = _MOST_SHARE if devices == _SITES[0][0] else None
    yield Row(f"{of}: of a core", share, "%", limit)
    yield Row(f"{of}: to the browser", sum(frames) / took / 1e3, "kB/s")
    yield Row(f"{of}: updates", len(frames) / took, "1/s", _MOST_UPDATES)


def _flooded(port: int, seconds: float) -> Iterator[Row]:
    """Let frames of one device come faster than anybody wants to see them."""
    with _dashboard(port) as (_, process):
        before = process.memory_info().rss
        with _site(port, 1, _FLOOD_A_SECOND, seconds):
            time.sleep(seconds + _SETTLE_S)
        grown = process.memory_info().rss - before
    yield Row(f"dashboard, {_FLOOD_A_SECOND:g} frames/s: grown by", grown / 2**20, "MiB")


@contextmanager
def _dashboard(port: int) -> Iterator[tuple[str, psutil.Process]]:
    command = [
        sys.executable,
        "-m",
        "cans",
        "dashboard",
        "--port",
        "0",
        "--broker",
        f"mqtt://127.0.0.1:{port}",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        try:
            assert process.stderr is not None
            where = next(filter(None, (re.search(r"http://\S+", line) for line in process.stderr)))[0]
            yield where, psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGINT)


@contextmanager
def _site(port: int, devices: int, rate: float, seconds: float) -> Iterator[None]:
    given = map(str, (port, devices, rate, seconds + 3.0 * _SETTLE_S))
    command = [sys.executable, "-m", "lab.bench.dashboard", *given]
    with subprocess.Popen(command) as process:  # noqa: S603 - our own
        try:
            yield
        finally:
            process.terminate()


@contextmanager
def _browser(program: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        # Its sandbox does not start for root.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser.new_page()
        finally:
            browser.close()


def _socket_frames(page: Page) -> list[int]:
    """Return a list that grows by the size of each WebSocket frame that the page receives."""
    frames: list[int] = []
    watched = page.context.new_cdp_session(page)
    watched.send("Network.enable")
    watched.on(
        "Network.webSocketFrameReceived",
        lambda event: frames.append(len(event["response"]["payloadData"])),
    )
    return frames


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def _publish(port: int, devices: int, rate: float, seconds: float) -> None:
    endpoint = Endpoint(client_id=f"site-{devices}")
    async with open_connection(BrokerAddress("127.0.0.1", port), endpoint) as link:
        for number in range(devices):
            name = f"cam-{number}"
            said = State(role="device", id=name, state="ready", boot=1, version="", type="camera")
            await link.publish(
                _TOPICS.of(STATE, role=Role.DEVICE, id=name), encode(STATE, said), qos=1, retain=True
            )
        began = time.monotonic()
        for count in itertools.count():
            ahead_s = began + count / rate - time.monotonic()
            if count / rate > seconds:
                return
            if ahead_s > 0.0:
                await asyncio.sleep(ahead_s)
            name = f"cam-{count % devices}"
            topic = _TOPICS.of(FEEDBACK, type="camera", device=name)
            await link.publish(topic, encode(FEEDBACK, _frame(name, count)), qos=0)


def _frame(name: str, seq: int) -> Feedback:
    took = 40.0 + seq % 17
    return Feedback(
        device=name, type="camera", model="0" * 16, policy="fedlinucb_dw", seq=seq, arm=3, cut=3 + seq % 3,
        codec="uint8", answered_by="edge", reason="", sent_bytes=20_000, head_ms=12.0, encode_ms=1.0,
        link_ms=took - 21.0, queue_ms=0.0, decode_ms=1.0, tail_ms=7.0, fallback_ms=0.0, total_ms=took,
        deadline_ms=500.0, deadline_met=True, top=1, confidence=0.9, expected_ms=45.0, unsure_ms=5.0,
    )  # fmt: skip


if __name__ == "__main__":
    asyncio.run(_publish(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
