"""The demo's pure parts: what it hears, what it reports, and its processes."""

import asyncio
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from bus.address import BrokerAddress
from bus.errors import ConfigurationError
from bus.messages import Feedback, GroupParameters
from bus.topics import FEEDBACK, GROUPS, METRICS, Topics
from bus.wire import encode
from cans.demo.gather import Gathered
from cans.demo.plan import LEARNER, RIVALS, TYPES, DemoSettings
from cans.demo.report import best_fixed, latency, make_report, second_half, table
from cans.demo.view import progress, render
from cans.site_processes import Children, ProcessFailed
from tests.support.samples import SAMPLES

TOPICS = Topics()


def _settings(tmp_path: Path, **changes: Any) -> DemoSettings:
    fields: dict[str, Any] = {
        "frames": 4,
        "seed": 3,
        "report": tmp_path / "report.json",
        "figure": tmp_path / "figure.png",
        "logs": tmp_path / "logs",
        "live": False,
    }
    return DemoSettings(**{**fields, **changes})


def _summary(scale: float, uploads: int = 3) -> dict[str, Any]:
    def policy(total_ms: list[float]) -> dict[str, Any]:
        answered = {"device": 1, "edge": len(total_ms) - 1, "fallback": 0}
        return {"sent": len(total_ms), "answered": answered, "rejected": {}, "total_ms": total_ms}

    played = {name: policy([scale * (rank + 1)] * 4) for rank, name in enumerate(RIVALS)}
    played[LEARNER] = policy([scale * 9, scale * 8, scale, scale])
    return {"statistics_sent": uploads, "statistics_merged": uploads, "policies": played}


def test_latency_of_known_samples() -> None:
    assert latency([float(x) for x in range(1, 101)]) == {
        "mean_ms": 50.5,
        "p50_ms": 50.5,
        "p95_ms": 95.0,
        "frames": 100,
    }
    assert latency([7.0])["p95_ms"] == 7.0
    assert latency([])["frames"] == 0
    assert second_half([1.0, 2.0, 3.0]) == [2.0, 3.0]
    assert second_half([1.0, 2.0, 3.0, 4.0]) == [3.0, 4.0]


def test_the_report_has_what_was_promised(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    summaries = {device: _summary(10.0) for device in settings.devices}
    report = make_report(settings, summaries, merged=12, weights="m seeded:0", versions={"cans": "0"})
    assert report["frames"] == {
        "sent": 80,
        "answered": 80,
        "answered_by": {"device": 20, "edge": 60, "fallback": 0},
    }
    assert report["statistics"] == {"sent": 12, "merged": 12, "acknowledged": 12}
    assert set(report["types"]) == {"phone", "board"}
    for figures in report["types"].values():
        assert set(figures) == {"learned", "learned_whole", *RIVALS}
        # The second half only: the first is what it learnt from.
        assert figures["learned"] == {"mean_ms": 10.0, "p50_ms": 10.0, "p95_ms": 10.0, "frames": 4}
        assert figures["learned_whole"]["frames"] == 8
        # So that all are compared over the same frames.
        assert {figures[rival]["frames"] for rival in RIVALS} == {4}
        assert best_fixed(figures) == ("device_only", 10.0)
    assert report["emulated"]["slowness"] == {kind.name: kind.slowness for kind in TYPES}
    assert report["emulated"]["weights"] == "m seeded:0"
    assert report["seed"] == 3
    assert report["whole_mean_ms"]["board"] == {
        "learned": 47.5,
        "device_only": 10.0,
        "edge_only_uint8": 20.0,
        "edge_only_jpeg": 30.0,
        "two_arm": 40.0,
    }
    out = StringIO()
    Console(file=out, width=120).print(table(report))
    assert "emulated" in out.getvalue()
    assert "device_only *" in out.getvalue()


def test_the_figure_is_written(tmp_path: Path) -> None:
    from cans.demo.figure import draw

    settings = _settings(tmp_path)
    summaries = {device: _summary(10.0) for device in settings.devices}
    report = make_report(settings, summaries, merged=12, weights="m seeded:0", versions={})
    draw(settings, summaries, report, settings.figure)
    assert settings.figure.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_links_of_the_types_are_within_what_the_demo_promises() -> None:
    for kind in TYPES:
        assert 4.0 <= kind.link.up_mbit <= 20.0
        assert 4.0 <= kind.link.down_mbit <= 20.0
        assert kind.slowness > 1.0
        assert len(kind.devices) == 2


def test_a_demo_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--frames 2 or more"):
        _settings(tmp_path, frames=1)
    with pytest.raises(ConfigurationError, match="plain MQTT"):
        _settings(tmp_path, broker=BrokerAddress(tls=True))


def _heard() -> Gathered:
    heard = Gathered(TOPICS, LEARNER)
    samples = {type(message): message for _, message in SAMPLES}
    said, group = samples[Feedback], samples[GroupParameters]
    assert isinstance(said, Feedback)
    assert isinstance(group, GroupParameters)
    topic = TOPICS.of(FEEDBACK, type="phone", device="phone-1")
    for policy in (LEARNER, LEARNER, "two_arm"):
        mine = Feedback(**{f: getattr(said, f) for f in said.__struct_fields__} | {"policy": policy})
        heard.take(topic, encode(FEEDBACK, mine), 1.0)
    heard.take(TOPICS.of(GROUPS, type="phone", model=group.model), encode(GROUPS, group), 2.0)
    heard.take(TOPICS.of(METRICS, role="aggregator", id="a"), b'{"merged": 4}', 3.0)
    return heard


def test_what_is_heard_is_sorted(tmp_path: Path) -> None:
    heard = _heard()
    assert heard.turns("phone-1", LEARNER) == 2
    assert heard.turns("phone-1", "two_arm") == 1
    assert heard.latest["phone-1"].policy == LEARNER
    assert heard.metrics["aggregator", "a"] == {"merged": 4}
    assert heard.per_second(5.0) == 1.0
    assert heard.per_second(100.0) == 0.0
    out = StringIO()
    Console(file=out, width=140).print(render(_settings(tmp_path), heard, 5.0, "playing"))
    assert "phone-2" in out.getvalue()
    assert "emulated" in out.getvalue()
    told = progress(_settings(tmp_path), heard)
    assert told.startswith(f"phone-1 2/{_settings(tmp_path).frames}, now ")
    assert "phone-2 0/" in told


def test_what_cannot_be_read_is_counted() -> None:
    heard = _heard()
    heard.take(TOPICS.of(FEEDBACK, type="phone", device="phone-1"), b"nonsense", 1.0)
    heard.take(TOPICS.of(METRICS, role="edge", id="e"), b"{", 1.0)
    heard.take("somebody/else", b"", 1.0)
    assert heard.undecodable == 2


def test_children_end_with_the_block_and_leave_nothing(tmp_path: Path) -> None:
    async def main() -> list[int]:
        async with Children(tmp_path) as children:
            started = [await children.start(f"sleeper-{n}", ["asyncio"], pipes=True) for n in range(2)]
            return [child.process.pid for child in started]

    assert not any(psutil.pid_exists(pid) for pid in asyncio.run(main()))


def test_a_child_that_dies_is_named_with_its_last_words(tmp_path: Path) -> None:
    async def main() -> None:
        async with Children(tmp_path) as children:
            child = await children.start("short", ["no_such_module_at_all"])
            await children.watch([child])

    with pytest.raises(ProcessFailed, match=r"short ended with code 1(.|\n)*No module named"):
        asyncio.run(main())
    assert "no_such_module" in (tmp_path / "short.log").read_text()


def test_a_child_that_was_let_go_may_end_and_who_takes_its_place_is_watched(tmp_path: Path) -> None:
    async def main() -> None:
        async with Children(tmp_path) as children:
            there = [await children.start("old", ["asyncio"], pipes=True)]
            watching = asyncio.create_task(children.watch(there), name="watch")
            there[0].let_go = True
            there[0].process.kill()
            await there.pop().process.wait()
            there.append(await children.start("new", ["no_such_module_at_all"]))
            await watching

    with pytest.raises(ProcessFailed, match="new ended with code 1"):
        asyncio.run(main())


def test_a_child_with_a_setting_that_cannot_work_says_its_own_sentence(tmp_path: Path) -> None:
    async def main() -> None:
        async with Children(tmp_path) as children:
            await children.run("profile", ["cans", "profile", "no_such_network"])

    with pytest.raises(ConfigurationError, match=r"^there is no model 'no_such_network': choose"):
        asyncio.run(main())


def test_all_have_finished_or_the_first_failure_is_told(tmp_path: Path) -> None:
    async def main(modules: list[str]) -> None:
        async with Children(tmp_path) as children:
            started = [await children.start(name, [name]) for name in modules]
            await children.finished(started)

    asyncio.run(main(["this"]))
    with pytest.raises(ProcessFailed, match="no_such_module ended"):
        asyncio.run(main(["no_such_module", "this"]))
