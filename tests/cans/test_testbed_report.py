"""The page of `cans testbed`: whole, escaped, and shown by a browser without a word of complaint."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Request

from bus.errors import ConfigurationError
from cans.testbed_report import page, write
from cans.versions import commit_of
from tests.support.browser import chromium
from tests.support.testbed_runs import MEANS, Run, run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(tmp_path_factory.mktemp("run"), predicted=MEANS, slower=lambda block, attempt: 0.2)


def test_the_page_needs_nothing_else_and_escapes_what_it_shows(made: Run) -> None:
    html = page(made.plan, made.report, made.repetitions)
    assert "Two &lt;cameras&gt; &amp; a link" in html
    assert "Who is &lt;faster&gt;?" in html
    assert "<cameras>" not in html
    assert "<script" not in html
    for kind, target in re.findall(r'(src|href)="([^"]*)"', html):
        assert target.startswith(("data:", "#")), kind
    assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", html)


def test_the_page_holds_every_part_a_doubter_asks_for(made: Run) -> None:
    html = page(made.plan, made.report, made.repetitions)
    found = re.findall(r'<h2 id="(\w+)">', html)
    assert found == [
        "product", "real", "short", "policies", "differences", "figures", "predicted", "disturbance",
        "provenance",
    ]  # fmt: skip
    assert html.count("<figure>") == html.count('<svg class="drawn"') == 6
    assert html.count("estimated</span>") >= 2
    assert "0123456789ab" in html
    assert "cans testbed experiment.toml" in html
    assert "count all the same" in html


def test_a_run_of_one_repetition_without_a_prediction_says_so(tmp_path: Path) -> None:
    few = run(
        tmp_path, seeds=1, only=("default", "ans"), overrides=('testbed.product=""', "testbed.sweep=[]")
    )
    html = page(few.plan, few.report, few.repetitions)
    assert "of one repetition there is no interval" in html
    assert "Nothing was predicted." in html
    assert "The experiment names no product." in html
    assert html.count("Not compared: no interval and no test: one repetition") == 2


def test_a_page_that_cannot_be_written_leaves_the_old_one(made: Run, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    (tmp_path / "report.html.new").mkdir()
    with pytest.raises(ConfigurationError, match=r"cannot write the page .*report\.html"):
        write(made.plan, made.report, made.repetitions, None, path)
    assert path.read_text() == "old"


def test_a_commit_is_of_sources_that_git_knows(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path), *arguments],
            check=True,
            capture_output=True,
        )

    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    assert commit_of(tmp_path) == ""
    installed = tmp_path / "site-packages"
    installed.mkdir()
    (installed / "file").write_text("")
    (tmp_path / "file").write_text("")
    git("init")
    git("add", "file")
    git("commit", "-m", "first")
    assert re.fullmatch(r"[0-9a-f]{12}", commit_of(tmp_path))
    assert commit_of(installed) == ""
    (tmp_path / "file").write_text("changed")
    assert commit_of(tmp_path).endswith("-dirty")


@pytest.mark.chromium
def test_a_browser_shows_it_without_errors_and_axe_finds_nothing_serious(made: Run, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write(made.plan, made.report, made.repetitions, None, path)
    said: list[str] = []
    asked: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        said.append(message.text)

    def on_request(request: Request) -> None:
        asked.append(request.url)

    with chromium() as browser:
        for scheme in ("light", "dark"):
            for width in (1000, 360):
                shown = browser.new_page(
                    color_scheme="dark" if scheme == "dark" else "light",
                    viewport={"width": width, "height": 800},
                )
                shown.on("console", on_console)
                shown.on("pageerror", lambda error: said.append(str(error)))
                shown.on("request", on_request)
                shown.goto(path.as_uri())
                assert {url for url in asked if not url.startswith("data:")} == {path.as_uri()}
                assert shown.evaluate("document.body.scrollWidth <= innerWidth")
                violations = Axe().run(shown).response["violations"]
                assert not [
                    (each["id"], each["nodes"][0]["html"])
                    for each in violations
                    if each["impact"] in {"serious", "critical"}
                ]
    assert said == []
