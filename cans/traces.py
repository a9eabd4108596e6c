"""Frames as OpenTelemetry traces: a process that listens as a watcher, and tells a collector.

Each frame is a trace: the frame on its device, and beneath it its stages (`bus/stages.py`), those of the
edge worker as a service of their own. A device's feedback has all of them, each measured on one machine's
clock, so nothing need be added to devices, edge workers or messages, and no clock is compared: stages are
laid end to end, and the frame ends when its feedback arrives here. Attributes are those of the semantic
conventions for messaging (https://opentelemetry.io/docs/specs/semconv/messaging/) where there are any, else
`cans.*`.
"""

import asyncio
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, set_span_in_context

from bus.address import BrokerAddress
from bus.connection import Delivery
from bus.errors import ConfigurationError, RemoteProtocolError
from bus.messages import Feedback
from bus.mqtt import open_connection
from bus.stages import stages_of
from bus.topics import DEFAULT_PREFIX, FEEDBACK, topics_below
from bus.wire import decode
from cans.listening import listener, require_named
from cans.version import __version__

CONSOLE: Final = "console"
QUEUED = 4096
_MOST_SERVICES = 2000
_AT_EDGE = frozenset({"queue", "decode", "tail", "reply"})
_NS = 1_000_000
_log = structlog.get_logger("traces")


@dataclass(frozen=True, slots=True, kw_only=True)
class TracesSettings:
    """What to listen to, and whom to tell.

    Attributes:
        broker, prefix: of the site.
        endpoint: of an OTLP collector over HTTP, such as http://127.0.0.1:4318; "console" prints.
        sample: share of the frames that are told.
    """

    broker: BrokerAddress
    prefix: str = DEFAULT_PREFIX
    endpoint: str = "http://127.0.0.1:4318"
    sample: float = 0.01

    def __post_init__(self) -> None:
        """Refuse a prefix or an address that is none.

        Raises:
            ConfigurationError: it is none.
        """
        topics_below(self.prefix)
        if self.endpoint != CONSOLE and not self.endpoint.startswith(("http://", "https://")):
            raise ConfigurationError(f"--endpoint {self.endpoint} is neither http://HOST:PORT nor {CONSOLE}")


class Traces:
    """Makes traces of feedback.

    Args:
        prefix: of the site's topics.
        sample: share of the frames that are told: the same of every run, by device and frame.
        processor: takes spans that are over.

    Attributes:
        told: frames so far. left_out: of more services than are kept.
    """

    def __init__(self, prefix: str, sample: float, processor: SpanProcessor) -> None:
        self.told = self.left_out = 0
        self._topics = topics_below(prefix)
        self._sample = sample
        self._processor = processor
        self._tracers: dict[tuple[str, str], Tracer] = {}

    def take(self, delivery: Delivery, now_ns: int) -> None:
        """Take in one message, at that time of day; what is no feedback, or not drawn, tells nothing."""
        address = self._topics.parse(delivery.topic)
        if address is None or address.topic is not FEEDBACK:
            return
        try:
            said = decode(FEEDBACK, delivery.payload, Feedback)
            require_named(address, type=said.type, device=said.device)
        except (RemoteProtocolError, ValueError):
            return
        if not drawn(said, self._sample):
            return
        device = self._tracer("cans-device", said.device)
        edge = self._tracer("cans-edge", "")
        if device is None or edge is None:
            if not self.left_out:
                _log.warning("frames of more devices than are kept are left out", most=_MOST_SERVICES)
            self.left_out += 1
            return
        self._tell(said, now_ns, device, edge)
        self.told += 1

    def _tell(self, said: Feedback, now_ns: int, device: Tracer, edge: Tracer) -> None:
        began_ns = now_ns - round(said.total_ms * _NS)
        frame = device.start_span(
            f"frame {said.type}", start_time=began_ns, kind=SpanKind.CLIENT, attributes=_attributes(said)
        )
        inside = set_span_in_context(frame)
        at_ns = began_ns
        for name, took_ms in stages_of(said).items():
            if took_ms <= 0.0:
                continue
            ends_ns = at_ns + round(took_ms * _NS)
            there = name in _AT_EDGE
            span = (edge if there else device).start_span(
                name, inside, SpanKind.SERVER if there else SpanKind.INTERNAL, start_time=at_ns
            )
            if name == "link":
                span.set_attributes(
                    {
                        "messaging.system": "mqtt",
                        "messaging.operation.type": "send",
                        "messaging.destination.template": f"{self._topics.prefix}/infer/{{edge}}/{{device}}",
                        "messaging.message.body.size": said.sent_bytes,
                    }
                )
            span.end(ends_ns)
            at_ns = ends_ns
        if not said.deadline_met:
            frame.set_status(Status(StatusCode.ERROR, "the deadline was missed"))
        frame.end(now_ns)

    def _tracer(self, service: str, instance: str) -> Tracer | None:
        tracer = self._tracers.get((service, instance))
        if tracer is None:
            if len(self._tracers) >= _MOST_SERVICES:
                return None
            named = {"service.name": service, "service.version": __version__}
            named |= {"service.instance.id": instance} if instance else {}
            provider = TracerProvider(resource=Resource(named), shutdown_on_exit=False)
            provider.add_span_processor(self._processor)
            tracer = self._tracers[service, instance] = provider.get_tracer("cans", __version__)
        return tracer


def drawn(said: Feedback, sample: float) -> bool:
    """Whether a frame is one of the share that is told."""
    return zlib.crc32(f"{said.device}:{said.seq}".encode()) < sample * 2.0**32


def _attributes(said: Feedback) -> dict[str, str | int | float | bool]:
    return {
        "cans.device.type": said.type,
        "cans.model": said.model,
        "cans.policy": said.policy,
        "cans.frame": said.seq,
        "cans.cut": said.cut,
        "cans.codec": said.codec,
        "cans.answered_by": said.answered_by,
        "cans.reason": said.reason,
        "cans.deadline_ms": said.deadline_ms,
        "cans.deadline_met": said.deadline_met,
        "cans.expected_ms": said.expected_ms,
        "cans.emulated": said.emulated,
    }


def exporter_of(endpoint: str) -> SpanExporter:
    """Return what tells a collector, or prints."""
    if endpoint == CONSOLE:
        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - requests

    return OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces")


async def run_traces(settings: TracesSettings, told: Callable[[int], None] = lambda _: None) -> None:
    """Tell until cancelled.

    Raises:
        ConfigurationError: the broker cannot be reached or says no.
    """
    # Its queue has a bound of 2048 spans; what finds no room is dropped and said in the log.
    processor = BatchSpanProcessor(exporter_of(settings.endpoint))
    traces = Traces(settings.prefix, settings.sample, processor)
    endpoint = listener("traces", settings.prefix, (FEEDBACK,), queued=QUEUED)
    try:
        async with open_connection(settings.broker, endpoint) as link:
            async for event in link.events():
                if isinstance(event, Delivery):
                    traces.take(event, time.time_ns())
                    event.ack()
                    told(traces.told)
    finally:
        await asyncio.to_thread(processor.shutdown)
