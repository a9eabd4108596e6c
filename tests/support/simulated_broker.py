"""Simulated time, and a broker in it whose links fail: no socket, no thread, no sleeping.

Between broker and subscriber every message may be lost, doubled, late and out of order (`pump.Pump`), also
into the next life of its reader, which is harsher than any broker. Towards the broker QoS 0 may vanish, and
QoS 1 may fail without anybody knowing whether it arrived; a retained state is announced at every connect.
This file must never look into a payload.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol

from bus.connection import Delivery
from bus.filters import matches
from bus.topics import STATE, Topic, Topics
from tests.support.pump import Pump

TOPICS = Topics()
LONGEST_DELAY_S = 0.25
_LOST = 0.1


class Clock:
    """What is to happen, and when; of what falls on one moment, what was asked for first comes first."""

    def __init__(self) -> None:
        self.now = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Do something later."""
        self._count += 1
        heapq.heappush(self._queue, (self.now + delay_s, self._count, action))

    @property
    def next_at(self) -> float | None:
        """When something happens next."""
        return self._queue[0][0] if self._queue else None

    def run_due(self) -> None:
        """Do what is due."""
        while self._queue and self._queue[0][0] <= self.now:
            heapq.heappop(self._queue)[2]()


class Client(Protocol):
    """Who has links to the broker."""

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        ...

    def delivered(self, delivery: Delivery) -> None:
        """A message came."""
        ...

    def link_changed(self, link: "Link") -> None:
        """A link came up or went down; not told to the dead."""
        ...

    def announcements(self, link: "Link", *, lost: bool) -> list[tuple[str, bytes]]:
        """The retained publishes at a connect, or of the will."""
        ...


@dataclass(slots=True, eq=False)
class Link:
    """One connection of a client."""

    client: Client
    name: str
    filters: tuple[str, ...]
    up: bool = False


class Broker:
    """The broker.

    Attributes:
        routed: messages that have reached the broker.
    """

    def __init__(self, clock: Clock, seed: int) -> None:
        self._clock = clock
        self._random = Random(f"broker {seed}")
        self._pump: Pump[tuple[Link, Delivery]] = Pump(seed, drop=_LOST, delay_s=(0.002, LONGEST_DELAY_S))
        self._retained: dict[str, bytes] = {}
        self._readers: dict[str, list[Link]] = {}
        self.links: list[Link] = []
        self.routed = 0

    def heal(self) -> None:
        """Lose nothing from now on; doubles, delays and so another order stay."""
        self._pump.lossless = True

    def restart(self) -> None:
        """Start anew without persistence: nothing is retained, and everybody connects again."""
        self._retained.clear()
        for link in self.links:
            self.cut(link, with_will=False)
        for link in self.links:
            self.connect(link)

    @property
    def next_at(self) -> float | None:
        """When the next message arrives."""
        return self._pump.next_at

    def deliver_due(self) -> None:
        """Hand over what has arrived, to whoever is there now."""
        for link, delivery in self._pump.due(self._clock.now):
            if link.up and link.client.alive:
                link.client.delivered(delivery)

    def connect(self, link: Link) -> None:
        """CONNECT, SUBSCRIBE, announcement; what is retained follows."""
        if link.up or not link.client.alive:
            return
        link.up = True
        self._announce(link, lost=False)
        link.client.link_changed(link)
        for topic, payload in self._retained.items():
            if link in self._readers_of(topic):
                self._pump.put((link, Delivery(topic, payload, retained=True)), self._clock.now)

    def cut(self, link: Link, *, with_will: bool = True) -> None:
        """The link is gone: its will is published, unless it is the broker that ended."""
        if not link.up:
            return
        link.up = False
        if with_will:
            self._announce(link, lost=True)
        if link.client.alive:
            link.client.link_changed(link)

    def publish(self, link: Link, topic: Topic, name: str, payload: bytes) -> bool:
        """Publish; return what the publisher hears of it, which at QoS 0 is nothing."""
        if not link.up:
            return False
        trouble = topic is not STATE and not self._pump.lossless and self._random.random() < _LOST
        if not trouble or (topic.qos and self._random.random() < 0.5):
            self._route(name, payload, retain=topic.retained)
        return not (trouble and topic.qos)

    def _announce(self, link: Link, *, lost: bool) -> None:
        for topic, payload in link.client.announcements(link, lost=lost):
            self._route(topic, payload, retain=True)

    def _route(self, name: str, payload: bytes, *, retain: bool) -> None:
        self.routed += 1
        if retain:
            self._retained[name] = payload
        for link in self._readers_of(name):
            if link.up:
                self._pump.put((link, Delivery(name, payload)), self._clock.now)

    def _readers_of(self, name: str) -> list[Link]:
        if name not in self._readers:
            self._readers[name] = [link for link in self.links if any(matches(f, name) for f in link.filters)]
        return self._readers[name]
