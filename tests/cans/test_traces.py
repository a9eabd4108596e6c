"""Frames as OpenTelemetry traces: what a collector is told, over HTTP, in the library's own words."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from bus.address import BrokerAddress
from bus.connection import Delivery, Endpoint
from bus.errors import ConfigurationError
from bus.messages import Feedback
from bus.mqtt import open_connection
from bus.stages import stages_of
from bus.topics import FEEDBACK, Topics
from bus.wire import encode
from cans.traces import Traces, TracesSettings, drawn, run_traces
from tests.support.broker import PATIENCE_S, mosquitto, run
from tests.support.samples import SAMPLES

TOPICS = Topics()
SAID = next(each for _, each in SAMPLES if isinstance(each, Feedback))
NOW_NS = 1_800_000_000_000_000_000


def _delivery(said: Feedback) -> Delivery:
    return Delivery(TOPICS.of(FEEDBACK, type=said.type, device=said.device), bytes(encode(FEEDBACK, said)))


def _spans(*said: Feedback, sample: float = 1.0) -> list[ReadableSpan]:
    kept = InMemorySpanExporter()
    traces = Traces(TOPICS.prefix, sample, SimpleSpanProcessor(kept))
    for each in said:
        traces.take(_delivery(each), NOW_NS)
    return list(kept.get_finished_spans())


def test_a_frame_is_one_trace_of_all_its_stages_end_to_end() -> None:
    *stages, frame = _spans(SAID)
    assert frame.parent is None
    assert (frame.start_time, frame.end_time) == (NOW_NS - round(SAID.total_ms * 1e6), NOW_NS)
    assert {span.context.trace_id for span in stages} == {frame.context.trace_id}
    assert [span.name for span in stages] == [name for name, took in stages_of(SAID).items() if took > 0.0]
    at_ns = frame.start_time
    for span in stages:
        assert span.parent is not None
        assert span.parent.span_id == frame.context.span_id
        assert span.start_time == at_ns
        at_ns = span.end_time
    services = {span.name: span.resource.attributes["service.name"] for span in stages}
    assert services["tail"] == "cans-edge"
    assert services["head"] == "cans-device"
    (link,) = (span for span in stages if span.name == "link")
    assert dict(link.attributes or {}) == {
        "messaging.system": "mqtt",
        "messaging.operation.type": "send",
        "messaging.destination.template": "cans/v1/infer/{edge}/{device}",
        "messaging.message.body.size": SAID.sent_bytes,
    }
    assert (frame.attributes or {})["cans.policy"] == SAID.policy
    assert frame.resource.attributes["service.instance.id"] == SAID.device


def test_a_deadline_that_was_missed_is_an_error() -> None:
    late, met = (
        _spans(msgspec.structs.replace(SAID, deadline_met=met))[-1].status.status_code
        for met in (False, True)
    )
    assert (late, met) == (StatusCode.ERROR, StatusCode.UNSET)


def test_a_share_is_drawn_by_frame_and_all_its_policies_are_told() -> None:
    frames = [msgspec.structs.replace(SAID, seq=seq) for seq in range(4000)]
    share = sum(drawn(frame, 0.1) for frame in frames) / len(frames)
    assert share == pytest.approx(0.1, abs=0.02)
    assert not any(drawn(frame, 0.0) for frame in frames)
    assert all(drawn(frame, 1.0) for frame in frames)
    for frame in frames[:50]:
        assert drawn(frame, 0.1) == drawn(msgspec.structs.replace(frame, policy="other"), 0.1)


def test_what_is_no_feedback_tells_nothing_and_a_flood_of_devices_is_bounded() -> None:
    kept = InMemorySpanExporter()
    traces = Traces(TOPICS.prefix, 1.0, SimpleSpanProcessor(kept))
    for topic in ("cans/v1/feedback/a/b", "cans/v1/state/device/a", "else/where"):
        traces.take(Delivery(topic, b"broken"), NOW_NS)
    assert (traces.told, kept.get_finished_spans()) == (0, ())
    for number in range(2100):
        traces.take(_delivery(msgspec.structs.replace(SAID, device=f"d{number}", head_ms=0.0)), NOW_NS)
    assert (traces.told, traces.left_out) == (1999, 101)  # one is the edge workers'


@contextmanager
def _collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """Serve OTLP over HTTP as collectors do; yields its address, and what it was told."""
    told: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/v1/traces":
                told.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", told
        finally:
            server.shutdown()


def test_a_collector_is_told_over_http_from_a_real_broker() -> None:
    async def main(endpoint: str) -> None:
        async with mosquitto() as broker:
            settings = TracesSettings(broker=broker.address, endpoint=endpoint, sample=1.0)
            heard: list[int] = []
            listening = asyncio.create_task(run_traces(settings, heard.append))
            async with (
                open_connection(broker.address, Endpoint("cam")) as device,
                asyncio.timeout(PATIENCE_S),
            ):
                while not heard or heard[-1] < 3:  # it may not have subscribed yet
                    await device.publish(_delivery(SAID).topic, _delivery(SAID).payload, qos=1)
                    await asyncio.sleep(0.05)
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening  # what it holds is told at the end

    with _collector() as (endpoint, told):
        run(main(endpoint))
    spans = [
        span
        for each in told
        for part in each.resource_spans
        for kind in part.scope_spans
        for span in kind.spans
    ]
    names = {span.name for span in spans}
    assert {"head", "link", "tail", f"frame {SAID.type}"} <= names
    services = {
        attribute.value.string_value
        for each in told
        for part in each.resource_spans
        for attribute in part.resource.attributes
        if attribute.key == "service.name"
    }
    assert services == {"cans-device", "cans-edge"}


@pytest.mark.parametrize("endpoint", ["collector:4318", "", "grpc://x"])
def test_an_address_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match="neither http"):
        TracesSettings(broker=BrokerAddress(), endpoint=endpoint)
