"""Records what is on the bus, as a plain subscriber: retained messages first, then all that comes.

Whatever may be missing is said where it would be: a gap while the connection was away, or where messages came
faster than they could be taken. A second's worth at most is in memory alone, so that is what a kill -9 costs.
"""

import asyncio
import contextlib
import itertools
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiofiles
from aiofiles.threadpool.binary import AsyncBufferedIOBase

from bus.address import BrokerAddress
from bus.connection import Connection, Delivery, Endpoint, LinkDown, LinkUp
from bus.errors import ConfigurationError, LinkLost, PublishRefused
from bus.filters import matches, require_filters
from bus.mqtt import open_connection
from bus.recording.entries import Gap, GapKind, Message
from bus.recording.packing import Packer
from bus.topics import DEFAULT_PREFIX, TABLE, topics_below

_NAMES = frozenset(topic.name for topic in TABLE)
# Deliveries that may wait while the disk is slow; beyond it QoS 0 is dropped, counted, and told as a gap.
QUEUED = 8192
_WRITE_S = 0.5
_WRITE_BYTES = 4 << 20
# With a disk that is slower than that, the connection's queue fills.
_MOST_PENDING_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSettings:
    """What to record, and where to.

    Attributes:
        broker: where.
        out: file; with `rotate` the first, and NAME-0002 and so on behind it.
        filters: topic filters; all below the prefix when empty.
        prefix: first levels of the site's topics.
        most_bytes: size of a file; None for no bound.
        rotate: begin another file then, instead of ending.
        seconds: end after so long; None for never.
        version: of the software, for the file.
    """

    broker: BrokerAddress
    out: Path
    filters: tuple[str, ...] = ()
    prefix: str = DEFAULT_PREFIX
    most_bytes: int | None = None
    rotate: bool = False
    seconds: float | None = None
    version: str = ""

    def __post_init__(self) -> None:
        """Refuse what no broker would take.

        Raises:
            ConfigurationError: a filter that is none, a bound of nothing, a file that is there.
        """
        require_filters(self.filters)
        topics_below(self.prefix)
        if self.rotate and self.most_bytes is None:
            raise ConfigurationError("--rotate needs --max-size: the size at which another file begins")
        if self.out.exists():
            raise ConfigurationError(f"{self.out} is there already: give another -o, nothing is overwritten")

    @property
    def subscribed(self) -> tuple[str, ...]:
        """The filters to subscribe to."""
        return self.filters or (f"{self.prefix}/#",)


@dataclass(slots=True)
class Recorded:
    """What has been recorded so far.

    Attributes:
        messages, gaps, lost: counts; `lost` of what is known to be missing.
        size: bytes on the disk. files: their names.
        heard: how many messages came on topics of ours, by the topic's name.
    """

    messages: int = 0
    gaps: int = 0
    lost: int = 0
    size: int = 0
    files: list[Path] = field(default_factory=list)
    heard: Counter[str] = field(default_factory=Counter)


class BrokersDrops:
    """What the broker says that it has dropped, of all its subscribers' messages."""

    TOPIC = "$SYS/broker/publish/messages/dropped"

    def __init__(self) -> None:
        self._said: int | None = None

    def more(self, payload: bytes) -> int:
        """Return how many it has dropped since it was asked last; 0 at first, and where it says no number."""
        if not payload.isdigit():
            return 0
        said = int(payload)
        more = 0 if self._said is None else max(0, said - self._said)
        self._said = said
        return more


class Recorder:
    """Takes deliveries in, and writes them down every now and then.

    Attributes:
        recorded: so far.

    Args:
        settings: what, and where to.
        told: called after each write.
    """

    def __init__(self, settings: RecordSettings, told: Callable[[Recorded], None] = lambda _: None) -> None:
        self.recorded = Recorded()
        self._settings = settings
        self._told = told
        self._below = f"{settings.prefix}/"
        self._epoch_ns = time.time_ns() - time.monotonic_ns()
        self._number = 0
        self._pending = 0  # bytes that are in memory alone
        self._away_since: float | None = None
        self._dropped = 0
        self._brokers_drops = BrokersDrops()
        self._much = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._packer = self._new_packer()

    async def run(self) -> Recorded:
        """Record until cancelled, until its time is up, or until the file is full.

        Raises:
            ConfigurationError: the broker cannot be reached or says no; nothing can be written, and why.
        """
        settings = self._settings
        endpoint = Endpoint(
            client_id=f"record-{secrets.token_hex(4)}",
            subscriptions=tuple((each, 1) for each in settings.subscribed),
            queue_limit=QUEUED,
            # No session that survives a disconnect: mosquitto 2.0.11 dies of one that runs out after its
            # access list was read again (docs/brokers.md). What is missed then is told as a gap.
        )
        async with open_connection(settings.broker, endpoint) as connection:
            with contextlib.suppress(PublishRefused, LinkLost):  # a broker may keep that to itself
                await connection.subscribe(BrokersDrops.TOPIC)
            taking = asyncio.create_task(self._take_all(connection), name="recorder in")
            try:
                async with asyncio.timeout(settings.seconds):
                    for number in itertools.count(1):
                        if not await self._fill(self._path(number), taking):
                            break
            except TimeoutError:
                pass
            finally:
                taking.cancel()
                await asyncio.wait({taking})
        return self.recorded

    async def _fill(self, path: Path, taking: "asyncio.Task[None]") -> bool:
        """Write one file; return whether another one is to follow it."""
        try:
            async with aiofiles.open(path, "xb") as file:
                self.recorded.files.append(path)
                try:
                    while not self._full():
                        await self._wait(taking)
                        await self._write(file, self._packer.cut())
                finally:
                    # Also when it is cancelled: a file without its index can be read, and is searched slowly.
                    packer, self._packer = self._packer, self._new_packer()
                    await asyncio.shield(self._write(file, packer.finish()))
        except OSError as error:
            begun = path in self.recorded.files
            holds = "; what it holds can be read: see cans recording info" if begun else ""
            raise ConfigurationError(f"cannot write {path}: {error.strerror}{holds}") from None
        return self._settings.rotate

    async def _wait(self, taking: "asyncio.Task[None]") -> None:
        """Wait until there is much to write, or for a while."""
        much = asyncio.create_task(self._much.wait(), name="recorder wait")
        try:
            await asyncio.wait({much, taking}, timeout=_WRITE_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            much.cancel()
        if taking.done():
            taking.result()

    async def _write(self, file: AsyncBufferedIOBase, data: bytes) -> None:
        self._pending = 0
        self._much.clear()
        await file.write(data)
        await file.flush()
        self._room.set()
        self.recorded.size += len(data)
        self._told(self.recorded)

    def _full(self) -> bool:
        most_bytes = self._settings.most_bytes
        return most_bytes is not None and self._packer.size >= most_bytes

    def _path(self, number: int) -> Path:
        out = self._settings.out
        return out if number == 1 else out.with_name(f"{out.stem}-{number:04d}{out.suffix}")

    def _new_packer(self) -> Packer:
        settings = self._settings
        about = {
            "version": settings.version,
            "filters": " ".join(settings.subscribed),
            "prefix": settings.prefix,
            "began": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        return Packer(about, f"cans {settings.version}")

    async def _take_all(self, connection: Connection) -> None:
        async for event in connection.events():
            # Meanwhile the connection's queue holds what comes, and counts what it drops.
            await self._room.wait()
            match event:
                case Delivery(topic) if topic == BrokersDrops.TOPIC and not self._asked_for(topic):
                    self._on_drops(event)
                case Delivery():
                    if connection.dropped > self._dropped:
                        self._add_gap("too_slow", lost=connection.dropped - self._dropped)
                        self._dropped = connection.dropped
                    self._add_message(event)
                    event.ack()
                case LinkDown():
                    self._away_since = time.monotonic()
                case LinkUp() if self._away_since is not None:
                    self._add_gap("disconnected", seconds=time.monotonic() - self._away_since)
                    self._away_since = None
                case _:
                    pass

    def _asked_for(self, topic: str) -> bool:
        return any(matches(each, topic) for each in self._settings.subscribed)

    def _on_drops(self, delivery: Delivery) -> None:
        """Say that something may be missing where the broker has dropped messages."""
        lost = self._brokers_drops.more(bytes(delivery.payload))
        if lost:
            self._add_gap("broker_dropped", lost=lost)

    def _add_message(self, delivery: Delivery) -> None:
        payload = bytes(delivery.payload)
        said = delivery.properties
        self._packer.add(
            Message(*self._next(), delivery.topic, payload, delivery.qos, delivery.retained, said)
        )
        self.recorded.messages += 1
        if delivery.topic.startswith(self._below):
            name = delivery.topic[len(self._below) :].partition("/")[0]
            if name in _NAMES:  # whatever else is published below our prefix must not fill memory
                self.recorded.heard[name] += 1
        self._pending += len(payload)
        if self._pending >= _WRITE_BYTES:
            self._much.set()
        if self._pending >= _MOST_PENDING_BYTES:
            self._room.clear()

    def _add_gap(self, kind: GapKind, *, lost: int = 0, seconds: float = 0.0) -> None:
        self._packer.add(Gap(*self._next(), kind, lost, seconds))
        self.recorded.gaps += 1
        self.recorded.lost += lost

    def _next(self) -> tuple[int, int, int]:
        """Return the next entry's number, and both its times."""
        number, self._number = self._number, self._number + 1
        return number, time.time_ns(), self._epoch_ns + time.monotonic_ns()


def default_name() -> Path:
    """Return the name of a file for what is recorded from now on."""
    return Path(f"cans-{datetime.now(UTC):%Y%m%d-%H%M%S}.mcap")
