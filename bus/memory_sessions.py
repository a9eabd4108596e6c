"""What the in-memory broker keeps: messages, and one session per client id.

Pure: no clock of its own, no event loop. The rules are MQTT 5's: section 4.1 (sessions), 4.4 (delivery
retry: on reconnect, and only then), 4.9 (ReceiveMaximum), 3.3.2.3.3 (message expiry).
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from bus.connection import Delivery, Properties
from bus.filters import matches


@dataclass(frozen=True, slots=True)
class Stored:
    """A message in the broker's hands.

    Attributes:
        expires_s: on the broker's clock, None for never.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: Properties | None
    expires_s: float | None

    def live(self, now_s: float) -> bool:
        """Whether it may still be delivered."""
        return self.expires_s is None or now_s < self.expires_s

    def remaining(self, now_s: float) -> Properties | None:
        """Its properties with the expiry that is left, whole seconds rounded up."""
        if self.properties is None or self.expires_s is None:
            return self.properties
        return replace(self.properties, expiry_s=math.ceil(self.expires_s - now_s))


class Link(Protocol):
    """Where a session's deliveries go while its client is connected."""

    def hand_out(self, delivery: Delivery) -> None:
        """Take one delivery."""
        ...


@dataclass(eq=False, slots=True)
class Session:
    """One client id at the broker.

    Attributes:
        expiry_s: how long it outlives its link.
        receive_maximum: QoS 1 deliveries that may be unacknowledged.
        queue_limit: QoS 1 messages kept beyond those; more are dropped, silently to the publisher.
        link: None while disconnected. ends_s: when the session is forgotten, None while connected.
    """

    client_id: str
    expiry_s: float
    receive_maximum: int
    queue_limit: int
    clock: Callable[[], float]
    link: Link | None = None
    ends_s: float | None = None
    subscriptions: dict[str, int] = field(default_factory=dict)
    dropped: int = 0
    _waiting: deque[Stored] = field(default_factory=deque)
    _unacknowledged: dict[int, Stored] = field(default_factory=dict)
    _packet_id: int = 0

    def granted(self, topic: str) -> int | None:
        """The highest QoS among the subscriptions that match, None if none does."""
        return max((qos for each, qos in self.subscriptions.items() if matches(each, topic)), default=None)

    def offer(self, message: Stored, qos: int, *, retained: bool) -> None:
        """Deliver now, or keep it if it is QoS 1 and the client cannot take it now."""
        message = replace(message, qos=min(message.qos, qos), retain=retained)
        if message.qos == 0:
            if self.link is not None and message.live(now := self.clock()):
                self.link.hand_out(_delivery(message, now))
            return
        if len(self._waiting) >= self.queue_limit:
            self.dropped += 1
            return
        self._waiting.append(message)
        self._pump()

    def attach(self, link: Link) -> None:
        """Connect a link: what waited is delivered, what was not acknowledged first and again."""
        self.link, self.ends_s = link, None
        self._pump()

    def detach(self) -> None:
        """The link ended."""
        self.link = None
        self.ends_s = self.clock() + self.expiry_s
        self._waiting.extendleft(reversed(self._unacknowledged.values()))
        self._unacknowledged.clear()

    def _pump(self) -> None:
        while self.link is not None and self._waiting and len(self._unacknowledged) < self.receive_maximum:
            message, now = self._waiting.popleft(), self.clock()
            if not message.live(now):
                continue
            self._packet_id += 1  # never reused, so a late acknowledgement of an old link hits nothing
            packet_id = self._packet_id
            self._unacknowledged[packet_id] = message
            self.link.hand_out(_delivery(message, now, partial(self._acknowledged, packet_id)))

    def _acknowledged(self, packet_id: int) -> None:
        if self._unacknowledged.pop(packet_id, None) is not None:
            self._pump()


def _delivery(message: Stored, now_s: float, ack: Callable[[], None] | None = None) -> Delivery:
    delivery = Delivery(message.topic, message.payload, message.qos, message.retain, message.remaining(now_s))
    return delivery if ack is None else replace(delivery, ack=ack)
