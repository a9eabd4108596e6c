"""A broker in memory, for tests: no network, no threads, no time of its own.

It passes the conformance suite that real brokers pass (`tests/bus/test_conformance.py`). A test can do to
it what faults do to a real one: cut a client, keep it away, stop and start the broker, refuse a publish.
Everything happens in the order of the calls; reconnects happen at the loop's next turn.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

from bus.connection import (
    Connection,
    ConnectionEvent,
    Delivery,
    Endpoint,
    LinkDown,
    LinkUp,
    Properties,
)
from bus.errors import (
    BrokerRefused,
    BrokerUnreachable,
    LinkLost,
    LocalProtocolError,
    PayloadTooLarge,
    PublishRefused,
)
from bus.filters import matches, require_filter, require_topic
from bus.memory_sessions import Session, Stored
from bus.queues import Inbox
from bus.tensors import Payload
from bus.topics import MIB

_NOT_AUTHORIZED = 0x87
MAX_PAYLOAD_BYTES = 8 * MIB
MAX_QUEUED = 50  # as broker-config has it


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _everybody(client_id: str, topic: str) -> bool:  # noqa: ARG001 - a rule takes both
    return True


class MemoryBroker:
    """The broker.

    Args:
        clock: seconds, for expiries; the loop's when not given.
        may_publish: (client id, topic) -> whether it is allowed, the broker's ACL.
        protocol: 5, or 4 to leave properties out as MQTT 3.1.1 does.
        max_queued: QoS 1 messages kept per session beyond ReceiveMaximum.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = _loop_time,
        may_publish: Callable[[str, str], bool] = _everybody,
        protocol: int = 5,
        max_queued: int = MAX_QUEUED,
    ) -> None:
        self.protocol = protocol
        self._clock = clock
        self._may_publish = may_publish
        self._max_queued = max_queued
        self._running = True
        self._retained: dict[str, Stored] = {}
        self._sessions: dict[str, Session] = {}
        self._connections: list[MemoryConnection] = []

    # ---- what a test may do --------------------------------------------------------------------------

    def cut(self, client_id: str, *, stay_away: bool = False) -> None:
        """End a client's link as a pulled cable does: its will is published, it connects again.

        Args:
            client_id: whose.
            stay_away: do not connect again before `restore`.
        """
        for connection in self._of(client_id):
            connection.away = stay_away
            self._lose(connection, LinkDown("the test cut the link"))

    def restore(self, client_id: str) -> None:
        """Let a client connect again that was cut with `stay_away`, or taken over."""
        for connection in self._of(client_id):
            connection.away = False
            connection.reconnect_soon()

    def stop(self, *, forget: bool = False) -> None:
        """Stop the broker: every link ends, no will is published.

        Args:
            forget: lose retained messages and sessions, as a broker without persistence does.
        """
        self._running = False
        for connection in self._connections:
            self._lose(connection, LinkDown("the broker is shutting down"), with_will=False)
        if forget:
            self._retained.clear()
            self._sessions.clear()

    def start(self) -> None:
        """Start it again: every client that is not kept away connects again."""
        self._running = True
        for connection in self._connections:
            connection.reconnect_soon()

    def retained(self, topic: str) -> bytes | None:
        """The retained payload of a topic, None if there is none."""
        message = self._retained.get(topic)
        return message.payload if message is not None and message.live(self._clock()) else None

    def _of(self, client_id: str) -> Iterator["MemoryConnection"]:
        return (each for each in tuple(self._connections) if each.endpoint.client_id == client_id)

    # ---- what clients do -----------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def connect(
        self, endpoint: Endpoint, *, max_payload_bytes: int = MAX_PAYLOAD_BYTES, wait: bool = False
    ) -> AsyncIterator[Connection]:
        """Connect as `bus.mqtt.open_connection` does.

        Args:
            endpoint: who.
            max_payload_bytes: larger payloads are refused.
            wait: go on trying while the broker is stopped.

        Raises:
            BrokerUnreachable: the broker is stopped.
            BrokerRefused: it does not take the announcement.
        """
        connection = MemoryConnection(self, endpoint, max_payload_bytes)
        if self._running:
            self._join(connection)
        elif not wait:
            raise BrokerUnreachable("the in-memory broker is stopped: start it")
        else:
            connection.inbox.put(LinkDown("the in-memory broker is stopped"))
        self._connections.append(connection)
        try:
            yield connection
        finally:
            self._connections.remove(connection)
            self._leave(connection)
            connection.inbox.close()

    def _join(self, connection: "MemoryConnection") -> None:
        """CONNECT, SUBSCRIBE, announcement, LinkUp; deliveries made meanwhile come after it."""
        endpoint = connection.endpoint
        for other in tuple(self._of(endpoint.client_id)):
            if other is not connection and other.session is not None:
                other.away = True  # or the two would take over from each other for ever
                self._lose(other, LinkDown("another client connected with the same id", taken_over=True))
        session = self._session_of(endpoint)
        early: list[Delivery] = []
        connection.session, connection.early = session, early
        session.attach(connection)
        for topic_filter, qos in connection.subscriptions.items():
            self.subscribe(session, topic_filter, qos)
        try:
            for topic, payload in endpoint.announce():
                self.route(endpoint.client_id, self.stored(topic, payload, 1, retain=True))
        except PublishRefused as error:
            self._lose(connection, LinkDown(str(error)), with_will=False)
            raise BrokerRefused(f"the in-memory broker refused the announcement: {error}") from error
        connection.early, connection.protocol = None, self.protocol
        connection.inbox.put(LinkUp(self.protocol))
        for delivery in early:
            connection.inbox.put(delivery)

    def try_join(self, connection: "MemoryConnection") -> None:
        """Connect again, unless the broker is stopped or the client kept away."""
        ready = self._running and not connection.away and connection.session is None
        if ready and connection in self._connections:
            with contextlib.suppress(BrokerRefused):
                self._join(connection)

    def _session_of(self, endpoint: Endpoint) -> Session:
        old = self._sessions.get(endpoint.client_id)
        over = old is not None and old.ends_s is not None and self._clock() >= old.ends_s
        if old is None or over or endpoint.session_expiry_s == 0:
            old = Session(endpoint.client_id, 0.0, 0, self._max_queued, self._clock)
        old.expiry_s = float(endpoint.session_expiry_s)
        old.receive_maximum = endpoint.queue_limit
        self._sessions[endpoint.client_id] = old
        return old

    def _lose(self, connection: "MemoryConnection", news: LinkDown, *, with_will: bool = True) -> None:
        session, connection.session, connection.early = connection.session, None, None
        if session is None:
            return
        session.detach()
        connection.inbox.put(news)
        will = connection.endpoint.will
        if with_will and will is not None:
            self._spread(self.stored(will.topic, will.payload, will.qos, retain=will.retain))
        connection.reconnect_soon()

    def _leave(self, connection: "MemoryConnection") -> None:
        """The client's own goodbye: its farewell is published, its will is not."""
        session = connection.session
        if session is None:
            return
        with contextlib.suppress(PublishRefused):
            for topic, payload in connection.endpoint.farewell():
                self.route(connection.endpoint.client_id, self.stored(topic, payload, 1, retain=True))
        connection.session = None
        session.detach()

    def stored(
        self, topic: str, payload: Payload, qos: int, *, retain: bool, properties: Properties | None = None
    ) -> Stored:
        """Return a message as the broker keeps it: with its own copy of the payload."""
        properties = properties if self.protocol == 5 else None
        expiry_s = properties.expiry_s if properties is not None else None
        expires_s = None if expiry_s is None else self._clock() + expiry_s
        return Stored(topic, bytes(payload), qos, retain, properties, expires_s)

    def route(self, client_id: str, message: Stored) -> None:
        """Deliver a client's publish.

        Raises:
            PublishRefused: QoS 1, and the ACL forbids it (QoS 0 vanishes).
        """
        if self._may_publish(client_id, message.topic):
            self._spread(message)
        elif message.qos:
            raise PublishRefused(message.topic, _NOT_AUTHORIZED)

    def _spread(self, message: Stored) -> None:
        if message.retain and message.payload:
            self._retained[message.topic] = message
        elif message.retain:
            self._retained.pop(message.topic, None)
        now = self._clock()
        for session in tuple(self._sessions.values()):
            if session.ends_s is not None and now >= session.ends_s:
                del self._sessions[session.client_id]
            elif (qos := session.granted(message.topic)) is not None:
                session.offer(message, qos, retained=False)

    def subscribe(self, session: Session, topic_filter: str, qos: int) -> None:
        """Add a subscription; what is retained for it is delivered."""
        session.subscriptions[require_filter(topic_filter)] = qos
        now = self._clock()
        for message in tuple(self._retained.values()):
            if matches(topic_filter, message.topic) and message.live(now):
                session.offer(message, qos, retained=True)


class MemoryConnection:
    """Implements `bus.connection.Connection`; see there. Made by `MemoryBroker.connect`.

    Attributes:
        protocol, packet_limit_bytes: as in `Connection`.
    """

    def __init__(self, broker: MemoryBroker, endpoint: Endpoint, max_payload_bytes: int) -> None:
        self.endpoint = endpoint
        self.inbox = Inbox(endpoint.queue_limit)
        self.session: Session | None = None  # while up
        self.early: list[Delivery] | None = None  # while connecting
        self.away = False
        self.subscriptions = dict(endpoint.subscriptions)
        self._broker = broker
        self._max_payload_bytes = max_payload_bytes
        self.packet_limit_bytes = max_payload_bytes  # a payload is all that a packet holds
        self.protocol = 0

    @property
    def dropped(self) -> int:
        """As `Connection.dropped`."""
        return self.inbox.dropped

    def hand_out(self, delivery: Delivery) -> None:
        """Take a delivery from the session."""
        if self.early is not None:
            self.early.append(delivery)
        else:
            self.inbox.put(delivery)

    def reconnect_soon(self) -> None:
        """Connect again at the loop's next turn."""
        asyncio.get_running_loop().call_soon(self._broker.try_join, self)

    async def publish(
        self,
        topic: str,
        payload: Payload,
        *,
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> None:
        """As `Connection.publish`."""
        if qos not in {0, 1}:
            raise LocalProtocolError(f"cannot publish with QoS {qos}: 0 or 1")
        size = memoryview(payload).nbytes
        if size > self._max_payload_bytes:
            raise PayloadTooLarge(size, self._max_payload_bytes, topic)
        message = self._broker.stored(
            require_topic(topic), payload, qos, retain=retain, properties=properties
        )
        if self.session is None:
            raise LinkLost("not connected to the broker")
        self._broker.route(self.endpoint.client_id, message)
        if qos:
            await asyncio.sleep(0)  # an acknowledgement takes a turn of the loop

    async def subscribe(self, topic_filter: str, *, qos: int = 0) -> None:
        """As `Connection.subscribe`."""
        self.subscriptions[require_filter(topic_filter)] = qos
        if self.session is None:
            raise LinkLost("not connected to the broker")
        self._broker.subscribe(self.session, topic_filter, qos)

    def events(self) -> AsyncIterator[ConnectionEvent]:
        """As `Connection.events`."""
        return self.inbox.read()
