"""What a role sees of a broker, whichever broker it is.

A `Connection` hides reconnects: it subscribes again, publishes its `announce` again, and says so in its
event stream. Three lists:

It does for you: reconnect with jittered back-off; re-subscribe; republish the retained state after every
reconnect; acknowledge QoS 1 only when the delivery's `ack()` is called; bound every queue.
It does not: resend a publish that raised (it may have arrived: resend with the same id and let the
receiver drop the second); keep order between topics; tell whether anybody received a publish.
You must: read `events()` without long pauses, call `ack()` once a delivery is handled, and treat each
message as one that may come twice, late, or never.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol

from bus.errors import LocalProtocolError
from bus.tensors import Payload


def _nothing() -> None:
    """Acknowledge what needs no acknowledgement (QoS 0)."""


@dataclass(frozen=True, slots=True)
class Properties:
    """MQTT 5 properties; silently left out on MQTT 3.1.1, where nothing depends on them.

    Attributes:
        expiry_s: the broker drops the message undelivered after this long (whole seconds, rounded up).
        user: user properties, as `traceparent`.
    """

    response_topic: str | None = None
    correlation_data: bytes | None = None
    content_type: str | None = None
    expiry_s: int | None = None
    user: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message received.

    Attributes:
        ack: call it once the message is handled; until then a QoS 1 message is the broker's to redeliver.
    """

    topic: str
    payload: Payload
    qos: int = 0
    retained: bool = False
    properties: Properties | None = None
    ack: Callable[[], None] = field(default=_nothing, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class LinkUp:
    """Connected, subscribed and announced; `protocol` is 5 or 4 (MQTT 3.1.1)."""

    protocol: int


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The connection ended; it is being made again.

    Attributes:
        reason: one sentence.
        taken_over: another client came with the same id while we were new ourselves, so it is we who
            are too many. Later on it is only a reason, and the connection is made again.
    """

    reason: str
    taken_over: bool = False


ConnectionEvent = Delivery | LinkUp | LinkDown


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes for us if we vanish."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = True


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Who connects, and how.

    Attributes:
        client_id: unique at the broker; `Presence.client_id` makes it.
        will: published by the broker when the connection is lost without a goodbye.
        announce: called at every (re)connect before `LinkUp`, again while what it says changes; returns
            the retained publishes (topic, payload) as they are now, made at QoS 1.
        subscriptions: (topic filter, QoS), renewed after every reconnect.
        queue_limit: deliveries waiting for `events()`. QoS 0 beyond it drops the oldest QoS 0 and is
            counted; QoS 1 is bounded by the broker through ReceiveMaximum (MQTT 5).
        session_expiry_s: > 0 asks for a session that survives disconnects that long.
        farewell: called when the connection is closed on purpose; returns retained publishes
            (topic, payload) to make before the goodbye, after which no will is published.

    Raises:
        LocalProtocolError: a queue without room for one delivery.
    """

    client_id: str
    will: Will | None = None
    announce: Callable[[], list[tuple[str, bytes]]] = list
    subscriptions: tuple[tuple[str, int], ...] = ()
    queue_limit: int = 64
    session_expiry_s: int = 0
    farewell: Callable[[], list[tuple[str, bytes]]] = list

    def __post_init__(self) -> None:
        """Refuse a queue that could hold nothing."""
        if self.queue_limit < 1:
            raise LocalProtocolError(f"queue_limit is {self.queue_limit}: at least 1 delivery must fit")


class Connection(Protocol):
    """One live connection to a broker, reconnecting until closed."""

    @property
    def protocol(self) -> int:
        """5, or 4 for MQTT 3.1.1; 0 before the first `LinkUp`."""
        ...

    @property
    def packet_limit_bytes(self) -> int:
        """The largest packet that the broker takes, as it said when it was last there; 0 if it never did."""
        ...

    @property
    def dropped(self) -> int:
        """Deliveries dropped by the overflow policy so far."""
        ...

    async def publish(
        self,
        topic: str,
        payload: Payload,
        *,
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> None:
        """Publish; returns when written (QoS 0) or acknowledged by the broker (QoS 1).

        Raises:
            PayloadTooLarge: over the broker's limit; nothing was written.
            PublishRefused: acknowledged with a failure code.
            LinkLost: not connected, or the connection ended first; it may have arrived.
        """
        ...

    async def subscribe(self, topic_filter: str, *, qos: int = 0) -> None:
        """Subscribe, now and after every reconnect.

        Raises:
            LinkLost: not connected; it is renewed at the next connect all the same.
            PublishRefused: the broker said no; it is not renewed.
        """
        ...

    def events(self) -> AsyncIterator[ConnectionEvent]:
        """Yield deliveries and link changes until the connection is closed. One reader."""
        ...
