"""The wire over a real broker: a `Connection` that is made again until it is closed.

With `bus/mqtt_client.py` the only importer of the MQTT library. MQTT 5 is tried first and 3.1.1 where the
broker has no 5; which one worked is remembered. Each connect uses a fresh client, subscribes, publishes the
announcement and only then says `LinkUp`; deliveries that came before are handed out after it.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Literal

from bus.address import BrokerAddress
from bus.allocator import keep_large_buffers
from bus.backoff import Backoff
from bus.connection import (
    Connection,
    ConnectionEvent,
    Endpoint,
    LinkDown,
    LinkUp,
    Properties,
)
from bus.errors import (
    BrokerBusy,
    BrokerRefused,
    BrokerUnreachable,
    ConfigurationError,
    LinkError,
    LinkLost,
    LocalProtocolError,
    PublishRefused,
)
from bus.filters import require_filter, require_topic
from bus.mqtt_client import ANSWER_TIMEOUT_S, ConnectFailed, Ending, MqttClient, SubscribeRefused
from bus.mqtt_faults import connect_error, unfinished
from bus.queues import Inbox
from bus.tensors import Payload
from bus.topics import MIB

MAX_PAYLOAD_BYTES = 8 * MIB
_SILENCE_TIMEOUT_S = 3.0
_FAREWELL_TIMEOUT_S = 2.0
_ANNOUNCE_TIMEOUT_S = 10.0
# Two clients with one id take over from each other at every attempt, until back-off has slowed both.
_EARLY_S = 5.0
_EARLY_COUNT = 3
# Who has stood so long was there first: the newcomer ends, so that nobody can be thrown out by a second one.
_STOOD_S = 10.0
# MQTT 5 is given up only after it failed so often without a clear refusal: one hiccup is no old broker.
_UNCLEAR_FAILURES = 2
_SET_UP_ROUNDS = 5
_FIRST_ATTEMPTS = 3


@contextlib.asynccontextmanager
async def open_connection(
    address: BrokerAddress,
    endpoint: Endpoint,
    *,
    max_payload_bytes: int = MAX_PAYLOAD_BYTES,
    first_connect: Literal["fail", "wait"] = "fail",
    protocols: tuple[int, ...] = (5, 4),
) -> AsyncIterator[Connection]:
    """Connect, and stay connected until the block is left.

    Args:
        address: of the broker.
        endpoint: who connects, and what to say at each connect and at the end.
        max_payload_bytes: larger payloads are refused here, before the write.
        first_connect: "wait" goes on trying if nobody answers at first, as a device does that can work
            alone; `LinkUp` tells when it worked. A refusal (password, certificate) still raises.
        protocols: the protocols to try, in that order: 5, and 4 for MQTT 3.1.1.

    Raises:
        BrokerUnreachable: nobody answered the first attempt, or the first few were not finished.
        BrokerRefused: the broker said no to the first attempt.
    """
    keep_large_buffers()
    connection = MqttConnection(address, endpoint, max_payload_bytes, protocols)
    try:
        await connection.connect_first()
    except BrokerUnreachable as error:
        if first_connect == "fail":
            raise
        connection.inbox.put(LinkDown(str(error)))
    supervisor = asyncio.create_task(connection.supervise(), name=f"mqtt {endpoint.client_id}")
    try:
        yield connection
    finally:
        supervisor.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await supervisor
        await connection.close()


class MqttConnection:
    """Implements `bus.connection.Connection`; see there. Made by `open_connection`."""

    def __init__(
        self,
        address: BrokerAddress,
        endpoint: Endpoint,
        max_payload_bytes: int,
        protocols: tuple[int, ...],
    ) -> None:
        self.inbox = Inbox(endpoint.queue_limit)
        self._address = address
        self._endpoint = endpoint
        self._max_payload_bytes = max_payload_bytes
        self._subscriptions = dict(endpoint.subscriptions)
        self._protocols = protocols  # in the order to try
        self._client: MqttClient | None = None  # while up
        self._protocol = 0
        self._packet_limit_bytes = 0
        self._dropped_early = 0
        self._hung_up_early = 0  # links in a row that the broker ended soon and without a word
        self._stood = False  # some link has lasted
        self._unclear_failures = 0  # of MQTT 5, where 3.1.1 then worked
        # Jitter needs no seed: nothing that is measured or learnt depends on it.
        self._backoff = Backoff(random.random)

    @property
    def protocol(self) -> int:
        """As `Connection.protocol`."""
        return self._protocol

    @property
    def packet_limit_bytes(self) -> int:
        """As `Connection.packet_limit_bytes`."""
        return self._packet_limit_bytes

    @property
    def dropped(self) -> int:
        """As `Connection.dropped`."""
        return self.inbox.dropped + self._dropped_early

    def events(self) -> AsyncIterator[ConnectionEvent]:
        """As `Connection.events`."""
        return self.inbox.read()

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
        require_topic(topic)
        if qos not in {0, 1}:
            raise LocalProtocolError(f"cannot publish with QoS {qos}: 0 or 1")
        client = self._client
        if client is None:
            raise LinkLost("not connected to the broker")
        if qos == 0:
            await client.send(topic, payload, retain=retain, properties=properties)
        else:
            await client.send_reliably(topic, payload, retain=retain, properties=properties)

    async def subscribe(self, topic_filter: str, *, qos: int = 0) -> None:
        """As `Connection.subscribe`."""
        self._subscriptions[require_filter(topic_filter)] = qos
        client = self._client
        if client is None:
            raise LinkLost("not connected to the broker")
        try:
            await client.subscribe_all([(topic_filter, qos)])
        except SubscribeRefused as error:
            del self._subscriptions[topic_filter]  # or the next connect would fail for it
            raise PublishRefused(topic_filter, error.code) from error

    async def connect_first(self) -> None:
        """Connect, and again a few times where a broker is there but was too busy to finish.

        Raises:
            ConfigurationError: in a sentence.
        """
        for _ in range(_FIRST_ATTEMPTS - 1):
            try:
                return await self.connect()
            except BrokerBusy:
                await asyncio.sleep(self._backoff.delay_s())
        return await self.connect()

    async def connect(self) -> None:
        """Connect once, trying both protocols.

        Raises:
            ConfigurationError: in a sentence.
        """
        refused = False  # the protocol tried before, clearly
        for protocol in self._protocols:
            try:
                await self._connect_with(protocol)
            except ConnectFailed as error:
                refused = error.failure.code is not None
                # A broker that has spoken 5 speaks it still; without a clear no, something else is wrong.
                known = self._protocol == protocol and not refused
                if known or not error.failure.old_protocol or protocol == self._protocols[-1]:
                    raise connect_error(self._address, error.failure) from error
            else:
                self._prefer(protocol, refused=refused)
                return

    def _prefer(self, protocol: int, *, refused: bool) -> None:
        """Try first from now on what has worked; the broker may yet be exchanged."""
        if protocol != self._protocols[0] and not refused:
            self._unclear_failures += 1
            if self._unclear_failures < _UNCLEAR_FAILURES:
                return
        self._protocols = (protocol, *(p for p in self._protocols if p != protocol))

    async def _connect_with(self, protocol: int) -> None:
        early = Inbox(self._endpoint.queue_limit)
        client = MqttClient(
            self._address,
            self._endpoint,
            protocol=protocol,
            max_payload_bytes=self._max_payload_bytes,
            # Silence is how amqtt refuses MQTT 5: do not wait long while there is another to try.
            answer_timeout_s=ANSWER_TIMEOUT_S if protocol == self._protocols[-1] else _SILENCE_TIMEOUT_S,
            deliver=early.put,
        )
        await client.open()
        try:
            await self._set_up(client)
        except BaseException:
            client.abandon()
            raise
        self._protocol = protocol
        self._packet_limit_bytes = client.packet_limit_bytes
        self._client = client
        self.inbox.put(LinkUp(protocol))
        while (event := early.take()) is not None:
            self.inbox.put(event)
        self._dropped_early += early.dropped
        client.deliver = self.inbox.put

    async def _set_up(self, client: MqttClient) -> None:
        """Subscribe and announce, until nothing new was asked for meanwhile."""
        try:
            async with asyncio.timeout(_ANNOUNCE_TIMEOUT_S):
                await self._say_all(client)
        except SubscribeRefused as error:
            raise BrokerRefused(
                f"{self._address.url} does not let {self._endpoint.client_id!r} subscribe to "
                f"{error.topic_filter} (0x{error.code:02x}): mend its ACL"
            ) from error
        except PublishRefused as error:
            raise BrokerRefused(
                f"{self._address.url} does not let {self._endpoint.client_id!r} publish to "
                f"{error.topic} (0x{error.reason_code:02x}): mend its ACL"
            ) from error
        except (LinkLost, TimeoutError) as error:
            raise unfinished(self._address, error) from error

    async def _say_all(self, client: MqttClient) -> None:
        """Publish and subscribe; what changes while the broker answers goes into another round.

        Whoever changes it then is told `LinkLost`, since `LinkUp` has not come, and relies on this.
        """
        subscribed: dict[str, int] = {}
        said: dict[str, bytes] = {}
        for _ in range(_SET_UP_ROUNDS):
            wanted = {each: qos for each, qos in self._subscriptions.items() if subscribed.get(each) != qos}
            now = dict(self._endpoint.announce())
            news = {topic: what for topic, what in now.items() if said.get(topic) != what}
            if not wanted and not news:
                return
            await client.subscribe_all(wanted.items())
            for topic, payload in news.items():
                await client.send_reliably(topic, payload, retain=True, properties=None)
            subscribed |= wanted
            said |= news

    async def supervise(self) -> None:
        """Connect again whenever the connection ends, for ever."""
        clock = asyncio.get_running_loop().time
        told = ""
        while True:
            if self._client is not None:
                since = clock()
                # Shielded: cancelling this task must not end the future, or `close` could say no farewell.
                over = await asyncio.shield(self._client.ended)
                self._client.abandon()
                self._client = None
                self._backoff.link_lasted(clock() - since)
                self.inbox.put(self._link_down(over, clock() - since))
            await asyncio.sleep(self._backoff.delay_s())
            try:
                await self.connect()
            except (ConfigurationError, LocalProtocolError) as error:
                # LocalProtocolError: an announcement that cannot be made; said and tried again like the rest.
                self._hung_up_early = 0
                if str(error) != told:
                    told = str(error)
                    self.inbox.put(LinkDown(told))
            else:
                told = ""

    def _link_down(self, over: Ending, lasted_s: float) -> LinkDown:
        """Word the end of a link; tell a takeover even if the broker does not.

        mosquitto 2.0 and every broker of MQTT 3.1.1 hang up without a word. A broker that takes us again
        and again, and each time hangs up at once, has another client of the same id.
        """
        early = over.hung_up and lasted_s < _EARLY_S
        self._hung_up_early = self._hung_up_early + 1 if early else 0
        self._stood = self._stood or lasted_s >= _STOOD_S
        if self._stood or self._hung_up_early < _EARLY_COUNT:
            return LinkDown(over.reason, over.taken_over and not self._stood)
        return LinkDown(
            f"the broker hung up {self._hung_up_early} times soon after connecting: "
            f"another client seems to use the id {self._endpoint.client_id!r}; give each its own",
            taken_over=True,
        )

    async def close(self) -> None:
        """Say farewell and goodbye, if connected; then end `events()`."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(LinkError, LocalProtocolError, TimeoutError):
                async with asyncio.timeout(_FAREWELL_TIMEOUT_S):
                    for topic, payload in self._endpoint.farewell():
                        await client.send_reliably(topic, payload, retain=True, properties=None)
            await client.close()
        self.inbox.close()
