"""The page of `cans testbed`: whole, escaped, and shown by a browser without a word of complaint."""

import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Request

from bus.errors import ConfigurationError
from cans.testbed.report import page, write
from cans.versions import commit_of
from lab.testbed.samples import Held, Sample
from tests.support.browser import chromium
from tests.support.testbed_runs import MEANS, Run, run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(tmp_path_factory.mktemp("run"), predicted=MEANS, slower=lambda block, attempt: 0.2)


@pytest.fixture(scope="module")
def eventful(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run in which something breaks, somebody comes late, and processes are watched."""
    link = "link={kind='constant',mbit_s=1.0}"
    late = f"{{name='late',declared='phone',join_after_frames=5,{link}}}"
    overrides = (
        "testbed.events=[{what='edge_killed',round=1,at_s=0.5,for_s=0.5}]",
        f"world.types=[{{name='phone',{link}}},{late}]",
        "testbed.trend_after_s=10.0",
    )
    made = run(tmp_path_factory.mktemp("eventful"), overrides=overrides)
    samples = [
        Sample(
            at_s=30.0 * number,
            round=0,
            policy="default",
            held={"broker": Held(resident_bytes=1 << 23, cpu_s=0.1 * number)},
            answered_ms=(50.0, 51.0),
            lost=0,
        )
        for number in range(100)
    ]
    repetitions = [msgspec.structs.replace(each, samples=samples) for each in made.repetitions]
    return Run(made.plan, repetitions, made.report)


def test_what_breaks_who_comes_late_and_what_lasts_have_parts_of_their_own(eventful: Run) -> None:
    html = page(eventful.plan, eventful.report, eventful.repetitions)
    assert {"newcomers", "broken", "steady"} < set(re.findall(r'<h2 id="(\w+)">', html))
    assert (
        "The edge worker is killed, and started again 0.5 s later (round 2, 0.5 s into each block)." in html
    )
    assert "the simulator knows nothing of what breaks here" in html
    assert "First frames of late-1, which comes 5 frames after the others" in html
    assert html.count('<th scope="row">broker</th><td class="n">8.0 MiB</td>') == len(eventful.repetitions)
    assert html.count('<svg class="drawn"') == 7


def test_links_are_told_and_one_that_is_not_as_set_stands_out(made: Run) -> None:
    assert 'id="links"' not in page(made.plan, made.report, made.repetitions)
    as_set = {"rate_mbit": 20.0, "goodput_mbit": 20.1, "waits_ms": 48.0}
    told = {**made.report, "links": [as_set]}
    assert "All carry what they were set to" in page(made.plan, told, made.repetitions)
    told["links"] = [as_set, {"rate_mbit": 0.05, "goodput_mbit": 0.04, "waits_ms": None}]
    html = page(made.plan, told, made.repetitions)
    assert "Not all carry what they were set to" in html
    assert '<th scope="row">0.05</th><td class="n">0.04</td><td class="n">-20.0 %</td>' in html


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
    with pytest.raises(ConfigurationError, match=r"cannot write .*report\.html"):
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
@pytest.mark.parametrize("which", ["made", "eventful"])
def test_a_browser_shows_it_without_errors_and_axe_finds_nothing_serious(
    request: pytest.FixtureRequest, tmp_path: Path, which: str
) -> None:
    made: Run = request.getfixturevalue(which)
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
