"""The dashboard in a browser, live and over a recording: every view, by day, by night, on a phone.

With CANS_SCREENSHOTS=DIR the views are kept there as pictures.
"""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from bus.address import BrokerAddress
from cans.dashboard.serving import DashboardSettings, token_for
from tests.support.broker import need_mosquitto
from tests.support.browser import chromium

REFERENCE = Path("tests/reference/site.mcap")
VIEWS = ("/", "/devices", "/device/cam-1", "/learning", "/edges", "/alarms", "/broker")
_PATIENCE_S = 60.0
_LEVEL = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
# An address is printed once the page can be had.
_WHERE = re.compile(r"dashboard: (http://\S+)")


@contextmanager
def _process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "cans", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10.0)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def dashboard(*arguments: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """Serve one; yields its address."""
    with _process("dashboard", "--port", "0", *arguments) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if (found := _WHERE.search(line)) is not None:
                yield found[1].rstrip("/") if "?" not in found[1] else found[1], process
                return
        pytest.fail(f"it ended with {process.wait(5.0)} and no address")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def recorded() -> Iterator[str]:
    with dashboard("--recording", str(REFERENCE)) as (where, _):
        yield where


def _keep(page: Page, name: str) -> None:
    folder = os.environ.get("CANS_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder) / f"dashboard-{name}.png"))


def _opened(browser: Browser, where: str, **more: object) -> tuple[Page, list[str]]:
    page = browser.new_page(**{"viewport": {"width": 1100, "height": 900}, **more})  # type: ignore[arg-type]
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: errors.append(request.url) if where not in request.url else None)
    return page, errors


@pytest.mark.timeout(240)
@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_every_view_can_be_read_by_anybody(browser: Browser, recorded: str, look: str) -> None:
    """No error, nothing loaded from elsewhere, no violation of WCAG 2.1 AA, nothing wider than a phone."""
    more: dict[str, object] = {"color_scheme": "dark" if look == "dark" else "light"}
    if look == "phone":
        more["viewport"] = {"width": 390, "height": 844}
    page, errors = _opened(browser, recorded, **more)
    for view in VIEWS:
        page.goto(recorded + view)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.wait_for_timeout(1500)
        dark = page.evaluate("document.body.classList.contains('body--dark')")
        assert dark is (look == "dark")
        found = Axe().run(page, options=_LEVEL)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), view
        _keep(page, f"{view.strip('/').replace('/', '-') or 'site'}-{look}")
    assert errors == []
    page.close()


@pytest.mark.timeout(120)
def test_a_frame_has_a_waterfall_and_a_recording_can_be_wound(browser: Browser, recorded: str) -> None:
    page, errors = _opened(browser, recorded)
    page.goto(f"{recorded}/device/cam-1")
    page.get_by_role("button", name=re.compile("Stages of frame")).first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text(re.compile(r"Frame \d+ of cam-1"))).to_be_visible()
    expect(dialog.get_by_role("cell", name="tail")).to_be_visible()
    page.wait_for_timeout(600)  # it fades in
    found = Axe().run(page, options=_LEVEL)
    assert found.violations_count == 0, found.generate_report()
    _keep(page, "waterfall")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.wait_for_timeout(500)  # then the dialog gives the focus back to whom it took it from
    slider = page.locator(".q-slider__track-container")
    slider.press("Home")
    expect(page.get_by_text(re.compile(r"recorded, 0\.0 s of"))).to_be_visible()
    expect(page.get_by_text("no frame yet")).to_be_visible()
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_text(re.compile(r"recorded, [2-6]\.\d s of"))).to_be_visible(timeout=15_000)
    page.get_by_role("button", name="Pause").click()
    assert errors == []
    page.close()


@pytest.mark.timeout(120)
def test_views_are_reached_by_keyboard(browser: Browser, recorded: str) -> None:
    page, _ = _opened(browser, recorded)
    page.goto(recorded)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    seen = []
    for _ in range(4):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.textContent.trim()"))
    assert "Devices" in seen, seen
    page.keyboard.press("Enter")
    page.wait_for_timeout(500)
    assert page.url != f"{recorded}/"
    page.close()


@pytest.mark.timeout(240)
def test_a_live_site_is_shown_while_it_runs_and_one_that_is_away_is_said_to_be(browser: Browser) -> None:
    need_mosquitto()
    with _process("broker", "--port", "18917") as broker:
        _until_open(18917)
        with dashboard("--broker", "mqtt://127.0.0.1:18917") as (where, shown):
            page, errors = _opened(browser, where)
            page.goto(f"{where}/devices")
            expect(page.get_by_role("status").filter(has_text="connected")).to_be_visible(timeout=20_000)
            expect(page.get_by_text("0 devices")).to_be_visible()
            replayed = [
                "replay",
                str(REFERENCE),
                "--onto-live",
                "--yes",
                "--broker",
                "mqtt://127.0.0.1:18917",
            ]
            with _process(*replayed) as replay:
                expect(page.get_by_role("link", name="cam-1")).to_be_visible(timeout=30_000)
                replay.wait(60.0)
            page.goto(f"{where}/broker")
            expect(page.get_by_text("broker/version")).to_be_visible(timeout=30_000)
            _keep(page, "broker-live")
            broker.send_signal(signal.SIGTERM)
            expect(page.get_by_role("status").filter(has_text="not connected")).to_be_visible(timeout=30_000)
            page.close()
            shown.send_signal(signal.SIGINT)
            assert shown.wait(15.0) == 130
            assert errors == []


def _until_open(port: int) -> None:
    import socket

    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("no broker")


def test_an_address_that_is_not_loopback_asks_for_a_token() -> None:
    drawn = {token_for(DashboardSettings(broker=BrokerAddress(), host="0.0.0.0")) for _ in range(2)}
    assert [len(token) for token in drawn] == [32, 32]
    assert token_for(DashboardSettings(broker=BrokerAddress(), host="::1")) == ""


def test_who_brings_no_token_sees_nothing() -> None:
    with dashboard("--recording", str(REFERENCE), "--token", "a" * 16) as (where, _):
        plain = where.split("?")[0]
        port = plain.rstrip("/").rpartition(":")[2]
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(plain)
        assert refused.value.code == 401
        refused.value.close()  # it holds the connection
        asked = urllib.request.Request(plain, headers={"Cookie": f"cans_dashboard_{port}={'a' * 16}"})
        with urllib.request.urlopen(asked) as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--recording", "no.mcap"), "cannot read no.mcap"),
        (("--token", "short"), "16 letters and digits"),
        (("--broker", "mqtt://127.0.0.1:1"), "nobody listens"),
        (("--host", "192.0.2.1"), "cannot answer on 192.0.2.1"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(arguments: tuple[str, ...], said: str) -> None:
    command = [sys.executable, "-m", "cans", "dashboard", "--port", "0", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60.0, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
