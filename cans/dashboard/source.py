"""Where a dashboard's messages come from: a live broker, or a recording that can be wound to any moment."""

import bisect
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from bus.address import BrokerAddress
from bus.connection import Connection, Delivery, LinkDown, LinkUp
from bus.errors import ConfigurationError
from bus.mqtt import open_connection
from bus.recording.entries import Message
from bus.topics import DEFAULT_PREFIX, FEEDBACK, METRICS, QUEUE, STATE, WORDS, topics_below
from cans.dashboard.site import SYS, Site
from cans.listening import listener
from cans.recording.opening import opened

ROWS = (STATE, METRICS, QUEUE, WORDS, FEEDBACK)
QUEUED = 4096
"""Messages that wait to be taken in; beyond it the oldest frames go, and are counted."""
_MOST_RECORDED = 500_000
_MARKS = 40


class Source(Protocol):
    """What pages look at.

    Attributes:
        site: as it is, or was.
        title: of the site, for people.
    """

    site: Site
    title: str

    def now(self) -> float:
        """Return the moment that is shown, on the clock of the site's messages."""
        ...

    def status(self) -> str:
        """Return how the source itself does, in words."""
        ...


class Live:
    """Implements `Source`, and listens.

    Args:
        broker, prefix: of the site.
    """

    def __init__(self, broker: BrokerAddress, prefix: str) -> None:
        self.site = Site(prefix)
        self.title = f"{broker.host}:{broker.port}, {prefix}"
        self._broker = broker
        self._prefix = prefix
        self._status = "connecting"
        self._dropped: Callable[[], int] = int

    def now(self) -> float:
        """As `Source.now`."""
        return time.monotonic()

    def status(self) -> str:
        """As `Source.status`."""
        dropped = self._dropped()
        return (
            f"{self._status}; {dropped} messages came too fast and were dropped" if dropped else self._status
        )

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Connection]:
        """Connect for the block.

        Raises:
            ConfigurationError: the broker cannot be reached, or says no.
        """
        broker = ((f"{SYS}broker/#", 0),)
        endpoint = listener("dashboard", self._prefix, ROWS, queued=QUEUED, more=broker)
        async with open_connection(self._broker, endpoint) as link:
            self._dropped = lambda: link.dropped
            yield link

    async def listen(self, link: Connection) -> None:
        """Take in what is said, until cancelled."""
        async for event in link.events():
            match event:
                case Delivery(topic=topic, payload=payload):
                    self.site.take(topic, payload, self.now())
                    event.ack()
                case LinkUp():
                    self._status = "connected"
                case LinkDown(reason=reason):
                    self._status = f"not connected: {reason}"


class Recorded:
    """Implements `Source` for a recording.

    What is behind the shown moment is unknown, as it was then. Going anywhere begins at the mark before it: a
    copy of what was known, one for each fortieth of the recording.

    Args:
        path: of it.

    Attributes:
        length_s: of it.

    Raises:
        ConfigurationError: there is none, or it holds more than is kept in memory.
    """

    def __init__(self, path: Path) -> None:
        self.title = f"recording {path.name}"
        with opened(path) as recording:
            prefix = recording.about.get("prefix", DEFAULT_PREFIX)
            topics = topics_below(prefix)
            self._kept: list[Message] = []
            for entry in recording:
                if not isinstance(entry, Message):
                    continue
                address = topics.parse(entry.topic)
                if (address is not None and address.topic in ROWS) or entry.topic.startswith(SYS):
                    self._kept.append(entry)
                if len(self._kept) > _MOST_RECORDED:
                    raise ConfigurationError(
                        f"{path} holds more than {_MOST_RECORDED:,} messages: cut a part out of it "
                        "(cans recording cut)"
                    )
        self._first_ns = self._kept[0].steady_ns if self._kept else 0
        self._times = [self._at(entry) for entry in self._kept]
        self.length_s = self._times[-1] if self._times else 0.0
        self.site = Site(prefix)
        self._marks: dict[int, Site] = {0: self.site.copy()}
        self._place, self._now = 0, 0.0
        self.wind(self.length_s)

    def now(self) -> float:
        """As `Source.now`: seconds after the first message."""
        return self._now

    def status(self) -> str:
        """As `Source.status`."""
        return f"recorded, {self._now:.1f} s of {self.length_s:.1f} s"

    def wind(self, at_s: float) -> None:
        """Show what was known at that moment."""
        place = bisect.bisect_right(self._times, at_s)
        mark = max(at for at in self._marks if at <= place)
        if place < self._place or mark > self._place:
            self.site, self._place = self._marks[mark].copy(), mark
        step = max(1, len(self._kept) // _MARKS)
        while self._place < place:
            entry = self._kept[self._place]
            self.site.take(entry.topic, entry.payload, self._times[self._place])
            self._place += 1
            if self._place % step == 0 and self._place not in self._marks:
                self._marks[self._place] = self.site.copy()
        self._now = at_s

    def _at(self, entry: Message) -> float:
        return (entry.steady_ns - self._first_ns) / 1e9
