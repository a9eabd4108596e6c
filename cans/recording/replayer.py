"""Plays a recording again on a broker, at its own pace, below a prefix of its own.

What is retained below that prefix afterwards is removed again: a replay leaves nothing behind. A connection
that is lost costs the messages under way, which are counted; the rest follows as far apart as it was.
"""

import asyncio
import math
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bus.address import BrokerAddress
from bus.connection import Connection, Endpoint, LinkDown, LinkUp
from bus.errors import ConfigurationError, LinkError, LinkLost, LocalProtocolError, PublishRefused
from bus.filters import require_filters
from bus.mqtt import open_connection
from bus.recording.entries import Message
from bus.recording.moving import Mover
from bus.recording.parts import Part, stays
from bus.recording.reading import Ending
from bus.topics import DEFAULT_PREFIX, topics_below
from cans.recording.opening import opened, require_within

# Read ahead in a thread, so that unpacking a chunk makes nobody late; two such batches are in memory at most.
_BATCH_MESSAGES = 512
_BATCH_BYTES = 16 << 20
# QoS 1 publishes that wait for their acknowledgement at once; beyond it the next one waits, and is late.
_UNDER_WAY = 64
_BIN_S = 1e-4
_TOLD_EVERY = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySettings:
    """What to play, where, and how fast.

    Attributes:
        broker: where.
        file: a recording.
        onto: prefix of the topics that are published on.
        filters: of the recorded topics, whole or from behind their prefix on; all when empty.
        speed: times as fast as recorded; infinite: one after the other.
        from_s, to_s: part to play, seconds after the recording's beginning.
        loop: begin again at the end.
        pause_at_s: wait there for the person at the keyboard, seconds after the recording's beginning.
        keep: leave behind what is retained.
    """

    broker: BrokerAddress
    file: Path
    onto: str
    filters: tuple[str, ...] = ()
    speed: float = 1.0
    from_s: float = 0.0
    to_s: float = math.inf
    loop: bool = False
    pause_at_s: float = math.inf
    keep: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be played.

        Raises:
            ConfigurationError: no filter, a prefix of other than names, a part that ends before it begins.
        """
        topics_below(self.onto)
        require_filters(self.filters)
        if self.to_s <= self.from_s:
            raise ConfigurationError(f"--to {self.to_s:g} is not behind --from {self.from_s:g}")


@dataclass(slots=True)
class Replayed:
    """What has been published so far.

    Attributes:
        messages, bytes: published: acknowledged by the broker, or handed to the connection (QoS 0, whose loss
            nobody tells). left_out: of a broker's own topics. lost: with a connection.
        refused: that the broker did not take; `why` of the last one.
        rounds: ends of the part that were reached.
        at_s: moment of the recording. lateness: how many left so many tenths of a millisecond late.
        ending: of the file, where it was read to its end.
    """

    messages: int = 0
    bytes: int = 0
    left_out: int = 0
    lost: int = 0
    refused: int = 0
    why: str = ""
    rounds: int = 0
    at_s: float = 0.0
    lateness: Counter[int] = field(default_factory=Counter)
    ending: Ending | None = None

    def late_ms(self, share: float) -> float:
        """Return how late this share of the messages left at most; 0 when nothing was timed."""
        wanted, seen = share * self.lateness.total(), 0
        for late, count in sorted(self.lateness.items()):
            seen += count
            if seen >= wanted:
                return 1e3 * _BIN_S * late
        return 0.0


class _Clock:
    """When a moment of the recording is due; moments that were waited out are taken off."""

    def __init__(self, speed: float, from_s: float) -> None:
        self._speed, self._from_s = speed, from_s
        self._began = asyncio.get_running_loop().time()

    def due(self, at_s: float) -> float:
        return self._began + (at_s - self._from_s) / self._speed

    def waited(self, seconds: float) -> None:
        self._began += seconds


class Replayer:
    """Publishes what a recording holds.

    Attributes:
        replayed: so far.

    Args:
        settings: what, where and how fast.
        asked: called at `pause_at_s`; returns once the person wants to go on.
        told: called every now and then.
    """

    def __init__(
        self,
        settings: ReplaySettings,
        asked: Callable[[], Awaitable[None]],
        told: Callable[[Replayed], None] = lambda _: None,
    ) -> None:
        self.replayed = Replayed()
        self._settings = settings
        self._asked, self._told = asked, told
        self._up = asyncio.Event()
        self._retained: set[str] = set()
        self._acknowledging: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(_UNDER_WAY)

    async def run(self) -> Replayed:
        """Play until the end, or until cancelled.

        Raises:
            ConfigurationError: no such recording; the broker cannot be reached or says no.
        """
        first_ns, mover = await asyncio.to_thread(self._look)
        endpoint = Endpoint(client_id=f"replay-{secrets.token_hex(4)}")
        async with open_connection(self._settings.broker, endpoint) as connection:
            listening = asyncio.create_task(self._listen(connection), name="replay link")
            await self._up.wait()
            try:
                while True:
                    await self._round(connection, mover, first_ns)
                    self.replayed.rounds += 1
                    if not self._settings.loop:
                        break
                    await asyncio.sleep(0)  # a part without a message must not keep Ctrl-C out
                if self._acknowledging:
                    await asyncio.wait(self._acknowledging)
            finally:
                listening.cancel()
                for task in self._acknowledging:
                    task.cancel()
                if not self._settings.keep:
                    await self._clear(connection)
        return self.replayed

    def _look(self) -> tuple[int, Mover]:
        """Return the recording's first moment, and what moves its topics; blocks."""
        require_within(self._settings.file, self._settings.from_s)
        with opened(self._settings.file, tells=False) as recording:
            recorded = recording.about.get("prefix", DEFAULT_PREFIX)
            first = next(iter(recording), None)
        if first is None:
            raise ConfigurationError(f"{self._settings.file} holds no message")
        return first.steady_ns, Mover(recorded, self._settings.onto)

    async def _listen(self, connection: Connection) -> None:
        async for event in connection.events():
            match event:
                case LinkUp():
                    self._up.set()
                case LinkDown():
                    self._up.clear()
                case _:
                    pass

    async def _round(self, connection: Connection, mover: Mover, first_ns: int) -> None:
        """Play the part once."""
        settings = self._settings
        part = Part(mover.recorded, settings.filters, settings.from_s, settings.to_s)
        batches = _batches(settings, part, self.replayed)
        batch = await asyncio.to_thread(next, batches, None)
        clock, paused = _Clock(settings.speed, settings.from_s), settings.pause_at_s < settings.from_s
        while batch is not None:
            ahead = asyncio.create_task(asyncio.to_thread(next, batches, None), name="replay read")
            try:
                for message in batch:
                    at_s = (message.steady_ns - first_ns) / 1e9
                    if not paused and at_s >= settings.pause_at_s:
                        paused = True
                        await self._pause(clock)
                    await self._at(connection, mover, message, at_s, clock)
                batch = await ahead
            finally:
                ahead.cancel()

    async def _pause(self, clock: _Clock) -> None:
        loop = asyncio.get_running_loop()
        due = clock.due(self._settings.pause_at_s)
        await asyncio.sleep(due - loop.time())
        began = loop.time()
        self._told(self.replayed)
        await self._asked()
        clock.waited(loop.time() - began)

    async def _at(
        self, connection: Connection, mover: Mover, message: Message, at_s: float, clock: _Clock
    ) -> None:
        """Publish a message when it is due."""
        loop = asyncio.get_running_loop()
        moved = mover.message(message)
        if moved is None:
            self.replayed.left_out += 1
            return
        early = clock.due(at_s) - loop.time()
        if early > 0.0:
            await asyncio.sleep(early)
        if not self._up.is_set():
            began = loop.time()
            await self._up.wait()
            clock.waited(loop.time() - began)
        due = clock.due(at_s)
        retain = stays(message, mover.recorded)
        if retain:
            self._retained.add(moved.topic)
        if moved.qos:
            await self._room.acquire()
            task = asyncio.create_task(self._publish(connection, moved, retain), name="replay publish")
            self._acknowledging.add(task)
            task.add_done_callback(self._acknowledged)
        else:
            await self._publish(connection, moved, retain)
        self.replayed.at_s = at_s
        if math.isfinite(self._settings.speed):
            self.replayed.lateness[max(0, round((loop.time() - due) / _BIN_S))] += 1
        if (self.replayed.messages % _TOLD_EVERY) == 0 or early > 0.1:
            self._told(self.replayed)

    def _acknowledged(self, task: "asyncio.Task[None]") -> None:
        self._acknowledging.discard(task)
        self._room.release()

    async def _publish(self, connection: Connection, message: Message, retain: bool) -> None:
        try:
            await connection.publish(
                message.topic,
                message.payload,
                qos=min(message.qos, 1),
                retain=retain,
                properties=message.properties,
            )
        except LinkLost:
            self.replayed.lost += 1
        except (PublishRefused, LocalProtocolError) as error:
            self.replayed.refused += 1
            self.replayed.why = str(error)
        else:
            self.replayed.messages += 1
            self.replayed.bytes += len(message.payload)

    async def _clear(self, connection: Connection) -> None:
        """Let the broker forget what it has kept of this replay."""
        try:
            for topic in sorted(self._retained):
                await connection.publish(topic, b"", qos=1, retain=True)
        except LinkError:
            return  # whoever runs the broker sees it there, below the replay's prefix


def _batches(settings: ReplaySettings, part: Part, replayed: Replayed) -> Iterator[list[Message]]:
    """Yield the part's messages in batches. Blocks."""
    batch: list[Message] = []
    size = 0
    with opened(settings.file, tells=False) as recording:
        for entry in part.of(recording):
            if not isinstance(entry, Message):
                continue
            batch.append(entry)
            size += len(entry.payload)
            if len(batch) >= _BATCH_MESSAGES or size >= _BATCH_BYTES:
                yield batch
                batch, size = [], 0
        replayed.ending = recording.ending
    if batch:
        yield batch
