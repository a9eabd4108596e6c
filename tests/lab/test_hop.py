"""What the broker costs: the file, the arithmetic, and one run with everything real."""

import json
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from bus.errors import ConfigurationError
from lab.bench.hop import EXPERIMENT
from lab.hop.__main__ import main
from lab.hop.page import in_short, write_page
from lab.hop.rows import Row
from lab.hop.shares import Share, found
from lab.hop.spec import load
from partition.networks.zoo import load_model
from partition.partitioned import build

GOOD = """
title = "A test"
asks = "What?"
network = "tests.support.tiny_network:make"
arms = ["0/jpeg", "0/uint8"]
frames = 2
repetitions = 3
links = [{ name = "loopback" }, { name = "fast", shape = { up_mbit_s = 80, down_mbit_s = 80, delay_ms = 5 } }]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "hop.toml"
    path.write_text(text)
    return path


def test_the_experiment_of_the_project_can_be_read_and_has_a_quick_part() -> None:
    hop = load(EXPERIMENT)
    assert hop.asks.endswith("?")
    assert hop.repetitions >= 10
    assert {link.shape is None for link in hop.links} == {True, False}
    quick = hop.quick()
    assert (len(quick.arms), len(quick.links)) == (1, 2)
    assert quick.frames * quick.repetitions < hop.frames * hop.repetitions


def test_the_network_of_the_experiment_has_its_arms() -> None:
    hop = load(EXPERIMENT)
    model = build(load_model(hop.network), codecs=hop.codecs)
    assert [model.arm(label).label for label in hop.arms] == list(hop.arms)


def test_codecs_are_those_of_the_arms(tmp_path: Path) -> None:
    assert load(written(tmp_path, GOOD)).codecs == ("jpeg", "uint8")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("frames = 2", "frame = 2", "there is no key 'frame': did you mean 'frames'?"),
        ("delay_ms = 5", "delay = 5", "links[1].shape: there is no key 'delay': did you mean 'delay_ms'?"),
        ('name = "loopback"', 'nam = "x"', "links[0]: there is no key 'nam': did you mean 'name'?"),
        ("up_mbit_s = 80", "up_mbit_s = 0", "links[1].shape.up_mbit_s: "),
        ('["0/jpeg", "0/uint8"]', '["end/none"]', "arms[0]: "),
        ('["0/jpeg", "0/uint8"]', '["0/jpeg", "0/jpeg"]', "arms has '0/jpeg' twice: name each once"),
        ('"fast"', '"loopback"', "links has 'loopback' twice: name each once"),
        ("frames = 2", "frames =", "is no TOML: "),
    ],
)
def test_what_cannot_be_played_is_said(tmp_path: Path, before: str, after: str, said: str) -> None:
    path = written(tmp_path, GOOD.replace(before, after))
    with pytest.raises(ConfigurationError) as raised:
        load(path)
    assert str(path) in str(raised.value)
    assert said in str(raised.value)


def test_a_file_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.toml"), "--out", str(tmp_path)]) == 2
    assert "cannot read the experiment" in capsys.readouterr().err


def rows(total_ms: Mapping[str, float], *, repetitions: int = 4, top: int = 1) -> list[Row]:
    """Three frames a repetition: one as said, one faster and one much slower by the same for all."""
    return [
        Row(
            link="loopback",
            arm="7/uint8",
            transport=name,
            repetition=repetition,
            number=number,
            total_ms=total + off,
            front_ms=5.0,
            edge_ms=3.0,
            way_ms=total + off - 8.0,
            request_bytes=1000,
            top=top,
        )
        for repetition in range(repetitions)
        for name, total in total_ms.items()
        for number, off in enumerate((0.0, -1.0, 50.0))
    ]


def test_a_share_is_what_a_frame_takes_beyond_tcp_over_what_it_takes() -> None:
    out = found(rows({"MQTT, mosquitto": 12.5, "TCP": 10.0, "gRPC": 8.0}))
    assert [each.transport for each in out.figures] == ["TCP", "MQTT, mosquitto", "gRPC"]
    tcp, mqtt, grpc = out.figures
    assert tcp.whole == tcp.way == Share(0.0, (0.0, 0.0), 0.0)
    assert mqtt.whole.value == pytest.approx(0.2)
    assert mqtt.whole.beyond_ms == pytest.approx(2.5)
    assert mqtt.whole.ci95 == pytest.approx((0.2, 0.2))
    assert grpc.whole.value == pytest.approx(-0.25)
    assert (mqtt.p50_ms, mqtt.frames, out.frames, out.disagreed) == (12.5, 12, 12, 0)
    assert (mqtt.p95_ms, mqtt.p99_ms) == (62.5, 62.5)


def test_an_interval_spans_what_repetitions_differ_by_and_needs_three() -> None:
    moved = [
        row
        for repetition in range(6)
        for row in rows({"TCP": 10.0, "gRPC": 11.0 + repetition}, repetitions=repetition + 1)[-6:]
    ]
    interval = found(moved).figures[1].whole.ci95
    assert interval is not None
    assert 1.0 / 11.0 < interval[0] < 1.0 - 10.0 / 13.5 < interval[1] < 6.0 / 16.0
    assert found(rows({"TCP": 10.0, "gRPC": 11.0}, repetitions=2)).figures[1].whole.ci95 is None


def test_the_time_under_way_is_looked_at_without_the_noise_of_computing() -> None:
    slow_tail = [
        msgspec.structs.replace(row, total_ms=row.total_ms + 30.0, edge_ms=33.0)
        for row in rows({"MQTT, amqtt": 20.0})
    ]
    mqtt = found(rows({"TCP": 10.0}) + slow_tail).figures[1]
    assert mqtt.whole.value == pytest.approx(40.0 / 50.0)
    assert mqtt.way.value == pytest.approx(10.0 / 50.0)
    assert mqtt.way.beyond_ms == pytest.approx(10.0)


def test_a_page_says_first_that_the_machine_was_busy_and_which_broker_was_missing(tmp_path: Path) -> None:
    hop = load(EXPERIMENT)
    out = found(
        [
            msgspec.structs.replace(row, link=link.name, arm=arm)
            for link in hop.links
            for arm in hop.arms
            for row in rows({"TCP": 10.0, "MQTT, amqtt": 12.5})
        ]
    )
    page = tmp_path / "hop.md"
    said = {"command": "c", "provenance": "p", "rival_brokers": False, "busy": "was busy: load 3"}
    write_page(hop, out, page, **said)  # type: ignore[arg-type]
    short = page.read_text().split("\n\n")[2]
    assert short.startswith("In short: measured, not simulated, **on a machine that was busy: load 3**. ")
    assert "by MQTT, amqtt 20.0 (20.0 to 20.0) % [2.5 ms; `0/jpeg`, loopback]" in short
    assert "**mosquitto was not there: nothing is said of it.**" in page.read_text()
    with pytest.raises(ConfigurationError, match="cannot write the page"):
        write_page(hop, out, page / "below.md", **said)  # type: ignore[arg-type]


def test_answers_that_differ_are_counted_and_said() -> None:
    out = found(rows({"TCP": 10.0}) + rows({"gRPC": 10.0}, top=2))
    assert (out.frames, out.disagreed) == (12, 12)
    assert "**On 12 of 12 frames the answers differed.**" in in_short(load(EXPERIMENT), out)


@pytest.mark.system
def test_every_transport_plays_whole_frames_and_the_page_says_what_came_out(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "hop.md"
    path = written(tmp_path, GOOD)
    assert main([str(path), "--out", str(tmp_path / "out"), "--page", str(page)]) == 0
    played = json.loads((tmp_path / "out" / "rows.json").read_text())
    transports = {row["transport"] for row in played}
    assert transports >= {"TCP", "gRPC", "MQTT, amqtt"}
    assert len(played) == 2 * 2 * 3 * 2 * len(transports)
    for row in played:
        parts_ms = row["front_ms"] + row["edge_ms"] + row["way_ms"]
        assert row["total_ms"] == pytest.approx(parts_ms)
        assert min(row["front_ms"], row["edge_ms"], row["way_ms"]) > 0.0
    # The link is there: nothing can come back sooner than after its delay.
    assert min(row["way_ms"] for row in played if row["link"] == "fast") > 5.0
    text = page.read_text()
    assert text.startswith("# A test\n\nWhat?\n\nIn short: measured, not simulated")
    assert "All transports gave the same answers on all 24 frames." in text
    assert f"    python -m lab.hop {path}\n" in text
    assert page.with_name("hop-share.png").is_file()


def test_an_arm_that_the_network_has_not_is_said_before_anything_is_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, GOOD.replace("0/uint8", "77/uint8"))
    assert main([str(path), "--out", str(tmp_path)]) == 2
    assert "has no arm '77/uint8': choose from" in capsys.readouterr().err
