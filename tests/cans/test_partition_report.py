"""What `cans partition` measures: as a table, as JSON, and as a page, in a browser too."""

import json
import math
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from click.testing import CliRunner
from PIL import Image
from playwright.sync_api import ConsoleMessage, Request

from bus.errors import ConfigurationError
from bus.payload_limit import ENVELOPE_BYTES, PACKET_BYTES
from cans import partition_view
from cans.commands.partition import partition
from cans.partition_json import as_json
from cans.partition_report import page, write
from cans.partition_rows import codecs_of, percent, rows_of, spans_of
from cans.partition_view import Found, PartitionSettings, look
from partition.bottleneck import Info, digest, dump
from partition.bottleneck_pair import Form, Pair
from partition.measured import Measured, Wanted
from partition.networks.zoo import load_model
from partition.partitioned import build
from partition.pruning.arm_costs import Ranges
from tests.support.browser import chromium

TINY = "tests.support.tiny_network:make"
NETWORKS = "tests.support.tiny_network"
HERE = "tests.support.foreign_networks"
SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "partition.json"
WHEN = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
SETTINGS = PartitionSettings(
    TINY, batches="1", wanted=Wanted(codecs=("float32", "jpeg", "int8-zstd"), frames=3, rounds=3)
)


@pytest.fixture(scope="module")
def found() -> Found:
    return look(SETTINGS, progress=False)


@pytest.fixture(scope="module")
def measured(found: Found) -> Measured:
    assert found.measured is not None
    return found.measured


def _run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(partition, list(arguments))
    return done.exit_code, done.stdout, done.stderr


def test_every_arm_has_one_verdict_with_a_reason(measured: Measured) -> None:
    rows = rows_of(measured)
    assert [row.arm for row in rows] == list(measured.arms)
    assert len(measured.pruned.kept) + len(measured.pruned.dropped) == len(rows)
    assert sum(row.share for row in rows) == pytest.approx(1.0)
    labels = {row.arm.label for row in rows if row.verdict == "stays"}
    for row in rows:
        assert row.why
        assert set(row.rivals) <= labels
        assert bool(row.rivals) == (row.verdict == "dropped")
    assert set(spans_of(measured)) <= labels
    assert {codec.name: codec.arms for codec in codecs_of(rows)} == {
        name: sum(row.arm.codec == name for row in rows) for name in ("float32", "jpeg", "int8-zstd")
    }


def test_json_is_what_its_schema_says_and_its_cuts_are_places_of_the_survey(found: Found) -> None:
    said = json.loads(as_json(SETTINGS, found))
    jsonschema.validate(said, json.loads(SCHEMA.read_text()))
    measured = said["measured"]
    assert measured["frames"] == 3
    assert measured["seeded"]
    for arm in measured["arms"]:
        place = said["cuts"][measured["cuts"][arm["cut"]]]
        assert place["after"] == arm["after"]
        if arm["codec"] == "float32":
            assert (arm["bytes"], arm["top1"]) == (place["bytes"], 1.0)


def test_a_device_that_is_slower_takes_as_many_times_as_long(found: Found, measured: Measured) -> None:
    wanted = replace(SETTINGS.wanted, slowness=1e6)
    slower = look(replace(SETTINGS, wanted=wanted), progress=False).measured
    assert slower is not None
    # A million times: no noise of two measurements comes near.
    assert (slower.costs.front_s[-1]) > 1e4 * measured.costs.front_s[-1]
    assert slower.profile.front_s[-1] < 1e4 * measured.profile.front_s[-1]


def test_arms_below_the_agreement_are_banned_and_the_map_does_without_them(tmp_path: Path) -> None:
    # Of noise JPEG keeps little, and a rounded activation near a tie changes the class of some.
    for number in range(4):
        Image.effect_noise((224, 224), 90.0).convert("RGB").save(tmp_path / f"{number}.png")
    wanted = Wanted(
        codecs=("float32", "jpeg", "topk1-float16"), images=tmp_path, min_agreement=1.0, rounds=3, frames=3
    )
    found = look(replace(SETTINGS, wanted=wanted, model=TINY), progress=False)
    assert found.measured is not None
    assert found.measured.frames == 3
    for row in rows_of(found.measured):
        assert bool(row.banned) == (row.top1 < 1.0)
        assert (row.arm.index in found.measured.allowed) == (row.verdict != "banned")
    assert found.measured.banned
    html = page(SETTINGS, found, command="cans", when=WHEN)
    assert all(reason in html for reason in found.measured.banned.values())


def test_arms_that_send_more_than_the_broker_takes_are_banned_with_their_size(found: Found) -> None:
    packet = PACKET_BYTES + ENVELOPE_BYTES + 20_000
    settings = replace(SETTINGS, wanted=replace(SETTINGS.wanted, packet_limit_bytes=packet))
    bounded = look(settings, progress=False)
    assert bounded.measured is not None
    assert found.measured is not None
    assert found.measured.banned == {}
    said = json.loads(as_json(settings, bounded))
    jsonschema.validate(said, json.loads(SCHEMA.read_text()))
    assert said["measured"]["payload_limit_bytes"] == 20_000
    html = page(settings, bounded, command="cans", when=WHEN)
    for arm in said["measured"]["arms"]:
        assert (arm["verdict"] == "banned") == (arm["bytes"] > 20_000)
    (raw,) = (arm for arm in said["measured"]["arms"] if arm["arm"] == "0/float32")
    assert raw["why"] == "602112 bytes are above the 20000 that a request carries"
    assert raw["why"] in html
    assert set(bounded.measured.kept()) <= set(bounded.measured.allowed)


def test_where_the_broker_takes_nothing_the_device_works_alone() -> None:
    code, out, error = _run(
        TINY, "--frames", "1", "--batches", "1", "--codecs", "float32,jpeg", "--packet-limit", "1"
    )
    assert code == 0, error
    verdicts = {
        line.split()[0]: line for line in out.splitlines() if line.split()[:1] and "/" in line.split()[0]
    }
    assert all("banned: " in line for label, line in verdicts.items() if label != "end/none")
    assert "stays: " in verdicts["end/none"]


def test_whoever_reads_a_log_sees_that_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_view, "_SILENT_S", 0.0)
    code, _, error = _run(TINY, "--frames", "2", "--batches", "1", "--codecs", "jpeg", "--threads", "2")
    assert code == 0
    assert error.splitlines()[:3] == ["agreement ...", "agreement: 1 of 2", "agreement: 2 of 2"]


def test_a_bottleneck_is_an_arm_of_its_own_and_one_of_another_network_is_refused(tmp_path: Path) -> None:
    model = build(load_model(TINY))
    form = Form(model.cuts[1].shape, 2, 0, 8)
    pair = Pair(form)
    pair.fit(torch.randn(20, *form.shape[1:]))
    hash_ = digest(model.cuts[1].name, form, pair.state_dict(), b"")
    info = Info(hash_, model.hash, TINY, model.cuts[1].name, form, 0, 0, 1, 0.5, 9.0)
    path = tmp_path / "b.safetensors"
    path.write_bytes(dump(pair, info))
    wanted = replace(SETTINGS.wanted, bottlenecks=(path,))
    found = look(replace(SETTINGS, wanted=wanted), progress=False)
    assert found.measured is not None
    (row,) = (row for row in rows_of(found.measured) if row.arm.codec.startswith("bottleneck"))
    assert row.arm.label == f"1/bottleneck-{hash_}"
    assert 0.0 < row.payload_bytes < found.survey.cuts[found.measured.cuts[1]].nbytes
    with pytest.raises(ConfigurationError, match="is for model"):
        look(replace(SETTINGS, wanted=wanted, weights_seed=1), progress=False)


def test_the_table_names_arms_and_the_command_line_is_on_the_page(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    code, out, error = _run(
        TINY, "--frames", "2", "--batches", "1", "--codecs", "float32,jpeg", "--mbit", "1", "10",
        "--html", str(path),
    )  # fmt: skip
    assert code == 0
    assert [line.split()[0] for line in out.splitlines() if "float32 " in line and "/" in line.split()[0]]
    assert "end/none" in out
    assert error.splitlines()[0].startswith("agreement")
    assert error.splitlines()[-1].endswith(f"the report on {TINY}")
    html = path.read_text(encoding="utf-8")
    assert (
        f"cans partition {TINY} --batches 1 --frames 2 --codecs float32,jpeg --mbit 1.0 10.0 --html" in html
    )
    assert list(tmp_path.iterdir()) == [path]


def test_the_page_needs_nothing_else_and_escapes_what_it_shows(found: Found) -> None:
    evil = "<script>alert('&')</script>"
    html = page(replace(SETTINGS, model=evil), found, command=evil, when=WHEN)
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 3
    # What is loaded; names of XML namespaces are not.
    for kind, target in re.findall(r'(src|href)="([^"]*)"', html):
        assert target.startswith(("data:", "#")), kind
    assert "url(" not in re.sub(r"url\(#\w+\)", "", html)


def test_a_network_that_is_only_surveyed_has_a_page_too() -> None:
    settings = PartitionSettings(f"{HERE}:Narrow", inputs=("1x64",), batches="1")
    found = look(settings, progress=False)
    assert found.measured is None
    html = page(settings, found, command="cans", when=WHEN)
    assert "it does not take one frame" in html
    assert "measured" not in json.loads(as_json(settings, found))


def test_a_range_that_is_a_point_has_words_and_no_map() -> None:
    wanted = replace(SETTINGS.wanted, ranges=Ranges(speedup=(4.0, 4.0)))
    found = look(replace(SETTINGS, wanted=wanted), progress=False)
    html = page(SETTINGS, found, command="cans", when=WHEN)
    assert 'class="map"' not in html
    assert "at speed-up 4" in html


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            (f"{HERE}:Narrow", "--input", "1x64", "--measure"),
            "cannot be measured: it does not take one frame",
        ),
        ((TINY, "--html", "nowhere/report.html"), "--html nowhere/report.html cannot be written"),
        ((TINY, "--html", "."), "--html . cannot be written"),
        ((TINY, "--images", "nowhere"), "cannot read the folder nowhere"),
        ((TINY, "--codecs", "gzip"), "no codec 'gzip'"),
        ((TINY, "--bottleneck", "nowhere.st"), "nowhere.st"),
        ((TINY, "--min-agreement", "99"), "an agreement is a share from 0 to 1"),
        ((TINY, "--slowness", "0"), "times as slow will not do"),
        ((TINY, "--mbit", "9", "1"), "the smaller one first"),
        ((TINY, "--speedup", "0.5", "2"), "is slower than the device"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_measured(
    arguments: tuple[str, ...], sentence: str
) -> None:
    code, out, error = _run(*arguments)
    assert (code, out) == (2, "")
    assert sentence in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize("network", ["masked", "broken"])
def test_a_network_whose_answers_are_not_finite_is_refused_by_name(network: str) -> None:
    code, out, error = _run(f"{NETWORKS}:{network}", "--batches", "1", "--frames", "1", "--codecs", "float32")
    assert (code, out) == (2, "")
    assert error.splitlines()[-1].startswith(f"cans: {NETWORKS}:{network} answers a black frame with numbers")


def test_an_arm_that_gave_no_answer_has_no_largest_error_in_json(found: Found, measured: Measured) -> None:
    first, *rest = measured.agreements
    lost = replace(measured, agreements=(replace(first, top1=0.0, cosine=0.0, max_error=math.inf), *rest))
    said = json.loads(as_json(SETTINGS, replace(found, measured=lost)), parse_constant=pytest.fail)
    jsonschema.validate(said, json.loads(SCHEMA.read_text()))
    assert said["measured"]["arms"][0]["max_error"] is None
    assert ">inf<" in page(SETTINGS, replace(found, measured=lost), command="cans", when=WHEN)


def test_a_page_that_cannot_be_written_leaves_the_old_one(found: Found, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    (tmp_path / "report.html.new").mkdir()
    with pytest.raises(ConfigurationError, match=r"cannot write .*report\.html"):
        write(SETTINGS, found, path, command="cans")
    assert path.read_text() == "old"


def test_percentages_have_two_digits_that_count() -> None:
    assert [percent(share) for share in (0.0, 0.0123, 0.5, 1.0)] == ["0 %", "1.2 %", "50 %", "100 %"]


@pytest.mark.chromium
def test_a_browser_shows_it_without_errors_and_axe_finds_nothing_serious(
    found: Found, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    write(SETTINGS, found, path, command="cans partition")
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
                loaded = [url for url in asked if not url.startswith("data:")]
                assert set(loaded) == {path.as_uri()}
                assert shown.evaluate("document.body.scrollWidth <= innerWidth")
                violations = Axe().run(shown).response["violations"]
                assert not [
                    (each["id"], each["nodes"][0]["html"])
                    for each in violations
                    if each["impact"] in {"serious", "critical"}
                ]
    assert said == []
