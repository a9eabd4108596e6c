"""What is on the bus, for Prometheus: one process that listens as a watcher, and answers scrapes.

Names and units are Prometheus's (https://prometheus.io/docs/practices/naming): seconds, bytes, `_total` where
a number only grows. Nothing that a stranger publishes makes it grow for ever, and who is silent is forgotten.
"""

import asyncio
import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from bus.address import BrokerAddress
from bus.connection import Delivery
from bus.errors import ConfigurationError, RemoteProtocolError
from bus.messages import Feedback, GroupWords, QueueNotice, State
from bus.mqtt import open_connection
from bus.topics import DEFAULT_PREFIX, FEEDBACK, METRICS, QUEUE, STATE, WORDS, Address, topics_below
from bus.wire import decode
from cans.listening import listener, require_named

QUEUED = 4096
_MOST_NODES, _MOST_SERIES, _MOST_NAMES = 2000, 5000, 200
_FORGET_S = 300.0
# Seconds, from a loopback's to a deadline's.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
# Devices of 0.1.0 say true and false of one of them.
_NUMBERS = msgspec.json.Decoder(dict[str, float | bool])
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_UP = frozenset({"init", "ready", "sleeping"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterSettings:
    """What to listen to, and where to answer.

    Attributes:
        broker, prefix: of the site.
        host, port: of the scrapes.
    """

    broker: BrokerAddress
    prefix: str = DEFAULT_PREFIX
    host: str = "127.0.0.1"
    port: int = 9464

    def __post_init__(self) -> None:
        """Refuse a prefix that is none.

        Raises:
            ConfigurationError: it is none.
        """
        topics_below(self.prefix)


@dataclass(slots=True)
class _Frames:
    """What the frames of one device and policy have come to."""

    count: dict[str, int] = field(default_factory=dict)  # by who answered
    buckets: list[int] = field(default_factory=lambda: [0] * (len(_BUCKETS) + 1))
    seconds: float = 0.0
    missed: int = 0
    sent_bytes: int = 0
    heard_s: float = 0.0


@dataclass(slots=True)
class _Node:
    """What a node has said of itself."""

    state: State | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    heard_s: float = 0.0


class BusCollector(Collector):
    """Implements Prometheus's `Collector`: takes messages in on one thread, is scraped on another.

    Args:
        prefix: of the site's topics.
        clock: seconds, monotonic.
    """

    def __init__(self, prefix: str = DEFAULT_PREFIX, clock: Callable[[], float] = time.monotonic) -> None:
        self._topics = topics_below(prefix)
        self._clock = clock
        self._lock = threading.Lock()
        self._nodes: dict[tuple[str, str], _Node] = {}
        self._frames: dict[tuple[str, str, str], _Frames] = {}
        self._waits: dict[str, tuple[float, float]] = {}
        self._words: dict[tuple[str, str], GroupWords] = {}
        self._unreadable = self._left_out = 0

    def take(self, delivery: Delivery) -> None:
        """Take in one message."""
        address = self._topics.parse(delivery.topic)
        if address is None or not len(delivery.payload):
            return
        with self._lock:
            try:
                self._take(address, delivery)
            except (RemoteProtocolError, msgspec.DecodeError, ValueError):
                self._unreadable += 1

    def _take(self, address: Address, delivery: Delivery) -> None:
        now, fields = self._clock(), address.fields
        if address.topic is STATE:
            node = self._node(fields["role"], fields["id"], now)
            if node is not None:
                node.state = decode(STATE, delivery.payload, State)
        elif address.topic is METRICS:
            self._on_metrics(fields, delivery, now)
        elif address.topic is QUEUE:
            notice = decode(QUEUE, delivery.payload, QueueNotice)
            require_named(address, edge=notice.edge)
            if len(self._waits) < _MOST_NODES or notice.edge in self._waits:
                self._waits[notice.edge] = (notice.free_ms / 1e3, now)
        elif address.topic is WORDS:
            if len(self._words) < _MOST_NODES:
                self._words[fields["type"], fields["model"]] = decode(WORDS, delivery.payload, GroupWords)
        elif address.topic is FEEDBACK:
            frame = decode(FEEDBACK, delivery.payload, Feedback)
            require_named(address, type=frame.type, device=frame.device)
            self._add(frame, now)

    def _on_metrics(self, fields: Mapping[str, str], delivery: Delivery, now: float) -> None:
        if len(delivery.payload) > METRICS.limit_bytes:
            raise ValueError("longer than metrics are")
        node = self._node(fields["role"], fields["id"], now)
        if node is not None:
            said = _NUMBERS.decode(bytes(delivery.payload).strip())
            named = {key: float(value) for key, value in said.items() if _NAME.fullmatch(key)}
            node.numbers = dict(list(named.items())[:_MOST_NAMES])

    def _node(self, role: str, id_: str, now: float) -> _Node | None:
        node = self._nodes.get((role, id_))
        if node is None:
            if len(self._nodes) >= _MOST_NODES:
                self._left_out += 1
                return None
            node = self._nodes[role, id_] = _Node()
        node.heard_s = now
        return node

    def _add(self, said: Feedback, now: float) -> None:
        key = (said.device, said.type, said.policy)
        frames = self._frames.get(key)
        if frames is None:
            if len(self._frames) >= _MOST_SERIES:
                self._left_out += 1
                return
            frames = self._frames[key] = _Frames()
        total_s = said.total_ms / 1e3
        frames.heard_s = now
        frames.count[said.answered_by] = frames.count.get(said.answered_by, 0) + 1
        frames.buckets[next((at for at, edge in enumerate(_BUCKETS) if total_s <= edge), len(_BUCKETS))] += 1
        frames.seconds += total_s
        frames.missed += not said.deadline_met
        frames.sent_bytes += said.sent_bytes

    def collect(self) -> Iterator[Metric]:
        """Yield what is known now; who has not been heard for long is forgotten."""
        with self._lock:
            self._forget(self._clock())
            families = [*self._of_nodes(), *self._of_frames(), *self._of_groups(), *self._of_itself()]
        yield from families

    def _forget(self, now: float) -> None:
        self._frames = {key: each for key, each in self._frames.items() if now - each.heard_s < _FORGET_S}
        self._waits = {edge: told for edge, told in self._waits.items() if now - told[1] < _FORGET_S}
        for node in self._nodes.values():
            if now - node.heard_s >= _FORGET_S:
                node.numbers = {}  # its state is retained, and says whether it is there

    def _of_nodes(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            "cans_node_up", "Whether a node is there, by its retained state.", labels=("role", "id")
        )
        info = GaugeMetricFamily(
            "cans_node_info",
            "Version and device type of a node; always 1.",
            labels=("role", "id", "version", "type"),
        )
        load = GaugeMetricFamily(
            "cans_edge_jobs", "Jobs waiting or running at an edge worker.", labels=("edge",)
        )
        numbers: dict[str, GaugeMetricFamily] = {}
        for (role, id_), node in sorted(self._nodes.items()):
            if node.state is not None:
                up.add_metric((role, id_), float(node.state.state in _UP))
                info.add_metric((role, id_, node.state.version, node.state.type), 1.0)
                if role == "edge":
                    load.add_metric((id_,), node.state.load)
            for key, value in node.numbers.items():
                name, scaled = renamed(key, value)
                family = numbers.get(name)
                if family is None:
                    family = numbers[name] = GaugeMetricFamily(
                        f"cans_node_{name}", f"{key} of a node's metrics.", labels=("role", "id")
                    )
                family.add_metric((role, id_), scaled)
        waits = GaugeMetricFamily(
            "cans_edge_wait_seconds", "For how long a request would wait, as told last.", labels=("edge",)
        )
        for edge, (wait_s, _) in sorted(self._waits.items()):
            waits.add_metric((edge,), wait_s)
        yield from (up, info, load, waits, *numbers.values())

    def _of_frames(self) -> Iterator[Metric]:
        who = ("device", "type", "policy")
        latency = HistogramMetricFamily("cans_frame_latency_seconds", "Capture to answer.", labels=who)
        answered = CounterMetricFamily(
            "cans_frames", "Frames that were answered, by whom.", labels=(*who, "answered_by")
        )
        missed = CounterMetricFamily("cans_frames_late", "Frames that missed their deadline.", labels=who)
        sent = CounterMetricFamily("cans_frame_sent_bytes", "Payloads that were sent.", labels=who)
        for key, frames in sorted(self._frames.items()):
            for by, count in sorted(frames.count.items()):
                answered.add_metric((*key, by), float(count))
            missed.add_metric(key, float(frames.missed))
            sent.add_metric(key, float(frames.sent_bytes))
            total, buckets = 0, []
            for edge, count in zip((*map(str, _BUCKETS), "+Inf"), frames.buckets, strict=True):
                total += count
                buckets.append((edge, float(total)))
            latency.add_metric(key, buckets, frames.seconds)
        yield from (latency, answered, missed, sent)

    def _of_groups(self) -> Iterator[Metric]:
        which = ("group", "model")
        quantities = {
            "device_ms": GaugeMetricFamily(
                "cans_group_device_seconds", "Whole network on a device.", labels=which
            ),
            "away_ms": GaugeMetricFamily(
                "cans_group_away_seconds", "Edge worker and wait, whole network.", labels=which
            ),
        }
        members = GaugeMetricFamily(
            "cans_group_members", "Devices whose uploads are in a group.", labels=which
        )
        for (_, model), words in sorted(self._words.items()):
            members.add_metric((words.group, model), float(words.members))
            for name, family in quantities.items():
                value = getattr(words, name)
                if value is not None:
                    family.add_metric((words.group, model), value / 1e3)
        yield from (members, *quantities.values())

    def _of_itself(self) -> Iterator[Metric]:
        unreadable = CounterMetricFamily(
            "cans_exporter_unreadable_messages", "Messages that are none of ours."
        )
        unreadable.add_metric((), float(self._unreadable))
        left_out = CounterMetricFamily(
            "cans_exporter_left_out_messages", "Messages of more nodes than are kept."
        )
        left_out.add_metric((), float(self._left_out))
        yield from (unreadable, left_out)


def renamed(key: str, value: float) -> tuple[str, float]:
    """Return a metric's name and value in Prometheus's units."""
    if key.endswith("_ms"):
        return f"{key.removesuffix('_ms')}_seconds", value / 1e3
    # Endings that Prometheus keeps for other kinds.
    for kept, other in (
        ("_total", "_sum_of_all"),
        ("_count", "_number"),
        ("_sum", "_added"),
        ("_bucket", "_class"),
    ):
        if key.endswith(kept):
            return key.removesuffix(kept) + other, value
    return key, value if math.isfinite(value) else 0.0


async def run_exporter(settings: ExporterSettings, told: Callable[[str], None] = lambda _: None) -> None:
    """Answer scrapes until cancelled.

    Raises:
        ConfigurationError: the broker cannot be reached or says no, or the port is taken.
    """
    collector, registry = BusCollector(settings.prefix), CollectorRegistry(auto_describe=False)
    registry.register(collector)
    rows = (STATE, METRICS, QUEUE, WORDS, FEEDBACK)
    endpoint = listener("exporter", settings.prefix, rows, queued=QUEUED)
    async with open_connection(settings.broker, endpoint) as link:
        try:
            server, _ = start_http_server(settings.port, addr=settings.host, registry=registry)
        except OSError as error:
            raise ConfigurationError(
                f"cannot answer on {settings.host}:{settings.port}: {error.strerror}; give another --port"
            ) from None
        try:
            told(f"http://{settings.host}:{server.server_port}/metrics")
            async for event in link.events():
                if isinstance(event, Delivery):
                    collector.take(event)
                    event.ack()
        finally:
            await asyncio.to_thread(server.shutdown)
            server.server_close()
