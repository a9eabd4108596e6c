"""What Prometheus is shown: names by its rules, numbers as they were, and nothing that grows for ever."""

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.request import urlopen

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bus.address import BrokerAddress
from bus.connection import Delivery, Endpoint
from bus.errors import ConfigurationError
from bus.messages import Feedback, GroupWords, QueueNotice, State
from bus.mqtt import open_connection
from bus.topics import FEEDBACK, METRICS, QUEUE, STATE, WORDS, Topics
from bus.wire import encode, encode_metrics
from cans.exporter import BusCollector, ExporterSettings, renamed, run_exporter
from tests.support.broker import mosquitto
from tests.support.samples import MODEL, SAMPLES

TOPICS = Topics()
SAID = next(each for _, each in SAMPLES if isinstance(each, Feedback))
WORDS_SAID = next(each for _, each in SAMPLES if isinstance(each, GroupWords))
GRAFANA = Path(__file__).parents[2] / "docs" / "grafana" / "prometheus.json"


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _site(clock: _Clock | None = None) -> BusCollector:
    collector = BusCollector(clock=clock or _Clock())
    edge = State(role="edge", id="edge-1", state="ready", boot=1, version="0.1", models=MODEL, load=3.0)
    gone = State(role="device", id="cam-2", state="lost", boot=1, version="0.1", type="pi4")
    said = msgspec.structs.replace(SAID, device="cam-1", type="pi4", policy="fedlinucb_dw")
    slow = msgspec.structs.replace(said, total_ms=9000.0, deadline_met=False, answered_by="fallback")
    notice = QueueNotice(edge="edge-1", free_ms=250.0, jobs=3)
    for topic, payload in (
        (TOPICS.of(STATE, role="edge", id="edge-1"), encode(STATE, edge)),
        (TOPICS.of(STATE, role="device", id="cam-2"), encode(STATE, gone)),
        (TOPICS.of(METRICS, role="edge", id="edge-1"), encode_metrics({"tail_ms": 8.0, "requests_total": 7})),
        (TOPICS.of(QUEUE, edge="edge-1"), encode(QUEUE, notice)),
        (TOPICS.of(WORDS, type="pi4", model=MODEL), encode(WORDS, WORDS_SAID)),
        (TOPICS.of(FEEDBACK, type="pi4", device="cam-1"), encode(FEEDBACK, said)),
        (TOPICS.of(FEEDBACK, type="pi4", device="cam-1"), encode(FEEDBACK, slow)),
        (TOPICS.of(FEEDBACK, type="pi4", device="cam-1"), b"broken"),
        (TOPICS.of(METRICS, role="edge", id="edge-2"), b'{"tail_ms":"fast"}'),
        ("elsewhere/x", b"1"),
        (TOPICS.of(STATE, role="device", id="cam-3"), b""),
    ):
        collector.take(Delivery(topic, bytes(payload)))
    return collector


def _text(collector: BusCollector) -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry).decode()


def _samples(collector: BusCollector) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(_text(collector)):
        for each in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(each.labels.items()))
            found[f"{each.name}{{{labels}}}"] = each.value
    return found


def test_numbers_are_what_was_said_in_seconds_and_bytes() -> None:
    found = _samples(_site())
    who = "device=cam-1,policy=fedlinucb_dw,type=pi4"
    assert found["cans_node_up{id=edge-1,role=edge}"] == 1.0
    assert found["cans_node_up{id=cam-2,role=device}"] == 0.0
    assert found["cans_node_tail_seconds{id=edge-1,role=edge}"] == pytest.approx(0.008)
    assert found["cans_edge_wait_seconds{edge=edge-1}"] == pytest.approx(0.25)
    assert found["cans_edge_jobs{edge=edge-1}"] == 3.0
    assert found[f"cans_frame_latency_seconds_count{{{who}}}"] == 2.0
    assert found[f"cans_frame_latency_seconds_sum{{{who}}}"] == pytest.approx(SAID.total_ms / 1e3 + 9.0)
    assert found["cans_frame_latency_seconds_bucket{device=cam-1,le=5.0,policy=fedlinucb_dw,type=pi4}"] == 1.0
    assert found["cans_frames_total{answered_by=fallback,device=cam-1,policy=fedlinucb_dw,type=pi4}"] == 1.0
    assert found[f"cans_frames_late_total{{{who}}}"] == 1.0
    assert found[f"cans_frame_sent_bytes_total{{{who}}}"] == 2.0 * SAID.sent_bytes
    assert found["cans_exporter_unreadable_messages_total{}"] == 2.0


def test_names_pass_prometheus_own_linter() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (apt install prometheus)")
    done = subprocess.run(
        [promtool, "check", "metrics"], check=False, input=_text(_site()), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_names_that_prometheus_keeps_for_other_kinds_are_changed() -> None:
    assert renamed("tail_ms", 5.0) == ("tail_seconds", 0.005)
    for key in ("requests_total", "rows_count", "a_sum", "a_bucket"):
        assert not renamed(key, 1.0)[0].endswith(("_total", "_count", "_sum", "_bucket"))
    assert renamed("jobs", 2.0) == ("jobs", 2.0)


def test_who_is_silent_is_forgotten_and_strangers_make_nothing_grow_for_ever() -> None:
    clock = _Clock()
    collector = _site(clock)
    for number in range(6000):
        said = msgspec.structs.replace(SAID, device=f"cam-{number}", type="pi4")
        topic = TOPICS.of(FEEDBACK, type="pi4", device=said.device)
        collector.take(Delivery(topic, bytes(encode(FEEDBACK, said))))
        collector.take(Delivery(TOPICS.of(METRICS, role="device", id=said.device), b'{"a":1}'))
    found = _samples(collector)
    assert found["cans_exporter_left_out_messages_total{}"] > 0.0
    assert sum(name.startswith("cans_frames_late_total") for name in found) == 5000
    clock.now = 1000.0
    later = _samples(collector)
    assert not any(name.startswith(("cans_frames", "cans_edge_wait", "cans_node_tail")) for name in later)
    assert later["cans_node_up{id=edge-1,role=edge}"] == 1.0  # retained


def test_the_grafana_dashboard_asks_for_what_there_is() -> None:
    names = {name.split("{")[0] for name in _samples(_site())}
    board = json.loads(GRAFANA.read_text())
    asked = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"cans_\w+", target["expr"])
    }
    assert len(asked) >= 8
    assert asked <= names
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_a_scrape_of_a_real_bus() -> None:
    async def main() -> str:
        async with mosquitto() as broker, open_connection(broker.address, Endpoint("planter")) as planter:
            edge = State(role="edge", id="edge-1", state="ready", boot=1, version="0.1")
            await planter.publish(
                TOPICS.of(STATE, role="edge", id="edge-1"), encode(STATE, edge), qos=1, retain=True
            )
            told: asyncio.Queue[str] = asyncio.Queue()
            settings = ExporterSettings(broker=broker.address, port=0)
            running = asyncio.create_task(run_exporter(settings, told.put_nowait))
            async with asyncio.timeout(20):
                where = await told.get()
                text = ""
                while "edge-1" not in text:
                    text = (await asyncio.to_thread(lambda: urlopen(where).read())).decode()
            port = int(where.rsplit(":", 1)[1].split("/")[0])
            with pytest.raises(ConfigurationError, match="give another --port"):
                await run_exporter(ExporterSettings(broker=broker.address, port=port))
            running.cancel()
            await asyncio.wait({running})
            return text

    assert 'cans_node_up{id="edge-1",role="edge"} 1.0' in asyncio.run(main())


def test_a_prefix_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="prefix"):
        ExporterSettings(broker=BrokerAddress(), prefix="a//b")
