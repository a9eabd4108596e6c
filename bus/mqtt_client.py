"""One connection to a broker: aiomqtt with what it lacks. With `bus/mqtt.py` the door to the library.

Added: acknowledgement after handling, not on receipt; PUBACK reason codes looked at; pending publishes
failed when the link ends; QoS 0 written to the socket at once; sockets without Nagle; the broker's limits
from its CONNACK; why a connection failed. A client lives for one connection and is thrown away after it,
since the library would send again behind our back what a publish that raised had left (a duplicate that
nobody counts). The private names of aiomqtt and paho used here are pinned by
`tests/bus/test_mqtt_contract.py`.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from bus import mqtt_packets as packets
from bus.address import BrokerAddress
from bus.connection import Delivery, Endpoint, Properties
from bus.errors import LinkLost, PayloadTooLarge, PublishRefused
from bus.mqtt_faults import TAKEN_OVER, Failure, ending
from bus.mqtt_socket import BufferedSocket, connect_socket
from bus.queues import AckWindow
from bus.tensors import Payload
from bus.topics import MIB

KEEPALIVE_S = 30
CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 10.0
# Unacknowledged QoS 1 publishes; mosquitto's own default for the other direction.
INFLIGHT = 20
# Packets read before the loop turns to others: a flood of small ones would hold it for seconds. Never more
# than the reader's queue holds, or a burst would push out what nobody had a turn to take.
_PACKETS_A_TURN = 64
# MQTT 3.1.1 cannot tell its limit, and a broker then hangs up; broker-config/common.conf allows this much.
_MAX_PACKET_BYTES_311 = 8 * MIB
_HEAD_BYTES = 64 * 1024
_RECEIVE_MAXIMUM = 65535


class ConnectFailed(Exception):  # noqa: N818 - carried to the supervisor, which words it
    """The attempt failed; `failure` is what was seen of it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


class SubscribeRefused(Exception):  # noqa: N818 - as above
    """The broker refused a subscription."""

    def __init__(self, topic_filter: str, code: int) -> None:
        super().__init__(topic_filter, code)
        self.topic_filter = topic_filter
        self.code = code


class Ending(NamedTuple):
    """How a connection ended.

    Attributes:
        reason: one sentence.
        taken_over: the broker said so.
        hung_up: the broker closed it without a word.
    """

    reason: str
    taken_over: bool
    hung_up: bool


class _Ack:
    """Acknowledges one delivery, from any thread; a second call changes nothing."""

    __slots__ = ("_client", "_packet_id")

    def __init__(self, client: "MqttClient", packet_id: int) -> None:
        self._client = client
        self._packet_id = packet_id

    def __call__(self) -> None:
        self._client.acknowledge(self._packet_id)


class MqttClient(aiomqtt.Client):
    """One connection; see the module.

    Args:
        address: of the broker.
        endpoint: who connects.
        protocol: 5, or 4 for MQTT 3.1.1.
        max_payload_bytes: told to the broker as the largest packet to send here.
        answer_timeout_s: how long the broker may take to answer.
        deliver: takes each delivery, in order.

    Attributes:
        ended: done once the connection is over.
        deliver: as given; may be exchanged.
    """

    def __init__(
        self,
        address: BrokerAddress,
        endpoint: Endpoint,
        *,
        protocol: int,
        max_payload_bytes: int,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
        deliver: Callable[[Delivery], None],
    ) -> None:
        will = endpoint.will
        fresh = endpoint.session_expiry_s == 0
        super().__init__(
            address.host,
            address.port,
            username=address.username,
            password=address.password,
            identifier=endpoint.client_id,
            protocol=aiomqtt.ProtocolVersion.V5 if protocol == 5 else aiomqtt.ProtocolVersion.V311,
            will=None if will is None else aiomqtt.Will(will.topic, will.payload, will.qos, will.retain),
            clean_session=None if protocol == 5 else fresh,
            clean_start=fresh if protocol == 5 else paho.MQTT_CLEAN_START_FIRST_ONLY,
            properties=_connect_properties(endpoint, max_payload_bytes) if protocol == 5 else None,
            keepalive=KEEPALIVE_S,
            timeout=answer_timeout_s,
        )
        self.protocol = protocol
        self.ended: asyncio.Future[Ending] = self._loop.create_future()
        self._tls_context = address.ssl_context()
        self.deliver = deliver
        self._window = AckWindow()
        self._acknowledgements: dict[int, asyncio.Future[int]] = {}  # packet id -> reason code
        self._written: asyncio.Future[None] | None = None
        self._thread_id = threading.get_ident()
        self._writes_itself = False
        self._reads_on = False
        self._packets_a_turn = min(_PACKETS_A_TURN, endpoint.queue_limit)
        self._socket: BufferedSocket | None = None
        self._end_code: int | None = None
        self.packet_limit_bytes = 0  # said by the broker; 0 if it says nothing
        self._max_packet_bytes = packets.MAX_REMAINING_BYTES if protocol == 5 else _MAX_PACKET_BYTES_311
        self._max_payload_bytes = max_payload_bytes
        self._slots = asyncio.Semaphore(INFLIGHT)
        library = self._client
        library.disable_logger()
        library.manual_ack_set(True)
        # It has no public place for a socket and a reader of our own; both are what its subclasses override.
        library._create_socket = self._create_socket  # type: ignore[method-assign, assignment] # noqa: SLF001
        library._handle_publish = self._handle_publish  # type: ignore[method-assign] # noqa: SLF001

    # ---- connecting ----------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect and wait for the broker's word.

        Raises:
            ConnectFailed: with what was seen.
        """
        entering = asyncio.create_task(self.__aenter__(), name="mqtt connect")
        try:
            await asyncio.shield(entering)
        except aiomqtt.MqttError as error:
            self.abandon()
            raise ConnectFailed(self._failure(error)) from error
        except BaseException:
            # The library connects in a thread, which nobody can cancel and which would leave a socket
            # behind: wait for it, at most CONNECT_TIMEOUT_S; an answer is not waited for.
            if self._socket is not None:
                self._socket.reset()
            await asyncio.wait({entering})
            if not entering.cancelled():
                entering.exception()  # looked at, or asyncio would complain that nobody did
            self.abandon()
            raise
        self._disconnected.add_done_callback(self._on_end)

    def _failure(self, error: aiomqtt.MqttError) -> Failure:
        if isinstance(error, aiomqtt.MqttCodeError) and isinstance(error.rc, ReasonCode):
            return Failure(code=error.rc.value)
        cause = self._socket.fault if self._socket is not None else error.__context__
        return Failure(
            error=cause if isinstance(cause, OSError) else None,
            timed_out=self._socket is not None and isinstance(error.__context__, TimeoutError),
            first_byte=self._socket.first_byte if self._socket is not None else None,
        )

    def _create_socket(self) -> BufferedSocket:
        """Called in the library's connecting thread."""
        self._socket = connect_socket(
            self._hostname, self._port, timeout_s=CONNECT_TIMEOUT_S, context=self._tls_context
        )
        return self._socket

    def _on_connect(
        self,
        client: paho.Client,
        userdata: Any,  # noqa: ANN401 - the library's signature
        flags: paho.ConnectFlags,
        reason_code: ReasonCode,
        properties: PahoProperties | None = None,
    ) -> None:
        self.packet_limit_bytes = getattr(properties, "MaximumPacketSize", 0)
        self._max_packet_bytes = self.packet_limit_bytes or self._max_packet_bytes
        self._slots = asyncio.Semaphore(min(INFLIGHT, getattr(properties, "ReceiveMaximum", INFLIGHT)))
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self,
        client: paho.Client,
        userdata: Any,  # noqa: ANN401 - the library's signature
        flags: paho.DisconnectFlags,
        reason_code: ReasonCode,
        properties: PahoProperties | None = None,
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._end_code = reason_code.value
        if not self._connected.done():
            # aiomqtt would wait for its timeout.
            self._connected.set_exception(aiomqtt.MqttError("closed before CONNACK"))
        super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _on_end(self, disconnected: asyncio.Future[None]) -> None:
        if not disconnected.cancelled():
            disconnected.exception()  # looked at, or asyncio would complain that nobody did
        fault = self._socket.fault if self._socket is not None else None
        reason = ending(self._end_code, fault)
        if not self.ended.done():
            hung_up = self._end_code is None and fault is None
            self.ended.set_result(Ending(reason, self._end_code == TAKEN_OVER, hung_up))
        for pending in self._acknowledgements.values():
            if not pending.done():
                pending.set_exception(LinkLost(reason))
        self._acknowledgements.clear()
        if self._written is not None and not self._written.done():
            self._written.set_exception(LinkLost(reason))
            self._written.exception()  # several may wait, or none any more

    def abandon(self) -> None:
        """Drop the connection without a goodbye, whatever its state."""
        self._client._sock_close()  # noqa: SLF001 - the library's only way to do so
        if self._misc_task is not None:
            self._misc_task.cancel()
        if self._connected.done() and not self._connected.cancelled():
            self._connected.exception()
        if not self._disconnected.done():
            self._disconnected.set_result(None)

    async def close(self) -> None:
        """Say goodbye: the broker then publishes no will."""
        with contextlib.suppress(aiomqtt.MqttError):
            await self.__aexit__(None, None, None)
        self.abandon()

    # ---- receiving -----------------------------------------------------------------------------------

    def _on_socket_open(self, client: paho.Client, userdata: Any, sock: Any) -> None:  # noqa: ANN401 - the library's signature
        """Called in the library's connecting thread; our reader takes the place of the library's."""
        super()._on_socket_open(client, userdata, sock)
        self._loop.call_soon_threadsafe(self._loop.add_reader, sock.fileno(), self._read)

    def _read_on(self) -> None:
        self._reads_on = False
        self._read()

    def _read(self) -> None:
        """Read what has come, but not for long; what is left in the buffer is read in the next turn."""
        if self._reads_on:  # one turn at a time, also when new bytes come meanwhile
            return
        sock = self._socket
        try:
            for _ in range(self._packets_a_turn):
                self._client.loop_read()
                if sock is None or self._client.socket() is None or not sock.pending():
                    return
        except Exception as error:  # noqa: BLE001 - whatever it is, the connection is over
            self._lose(error)
            return
        self._reads_on = True
        self._loop.call_soon(self._read_on)

    def _handle_publish(self) -> MQTTErrorCode:
        """Take the place of the library's reader of PUBLISH packets."""
        packet = self._client._in_packet  # noqa: SLF001 - what the library has read so far is only there
        try:
            publish = packets.read_publish(packet["command"], packet["packet"], self.protocol)
        except packets.PacketError:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        if publish.qos == 0:
            self.deliver(Delivery(publish.topic, publish.payload, 0, publish.retained, publish.properties))
        else:
            self._window.received(publish.packet_id)
            self.deliver(
                Delivery(
                    publish.topic,
                    publish.payload,
                    publish.qos,
                    publish.retained,
                    publish.properties,
                    _Ack(self, publish.packet_id),
                )
            )
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def acknowledge(self, packet_id: int) -> None:
        """Acknowledge a delivery of this connection; any thread; too late is no error."""
        if threading.get_ident() != self._thread_id:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the broker delivers it again
                self._loop.call_soon_threadsafe(self.acknowledge, packet_id)
            return
        if self.ended.done():
            return
        ready = self._window.handled(packet_id)
        if ready:
            with self._direct_writes():
                for each in ready:
                    self._client.ack(each, 1)

    # ---- sending -------------------------------------------------------------------------------------

    def _check_size(self, topic: str, payload_bytes: int, qos: int, properties: bytes) -> None:
        if payload_bytes > self._max_payload_bytes:
            raise PayloadTooLarge(payload_bytes, self._max_payload_bytes, topic)
        packet = packets.packet_bytes(topic, payload_bytes, qos=qos, properties=properties)
        if packet > self._max_packet_bytes:
            limit = max(0, payload_bytes - (packet - self._max_packet_bytes))
            raise PayloadTooLarge(payload_bytes, limit, topic)

    async def send(
        self, topic: str, payload: Payload, *, retain: bool, properties: Properties | None
    ) -> None:
        """Publish with QoS 0; returns when written.

        Raises:
            PayloadTooLarge: nothing was written.
            LinkLost: the connection ended first.
        """
        packed = packets.pack_properties(properties) if self.protocol == 5 else b""
        size = len(payload) if isinstance(payload, bytes) else memoryview(payload).nbytes
        self._check_size(topic, size, 0, packed)
        sock = self._socket
        if self.ended.done() or sock is None:
            raise LinkLost("not connected to the broker")
        head = packets.publish_head(topic, size, retain=retain, protocol=self.protocol, properties=packed)
        sent = 0
        if not self._client.want_write():
            try:
                sent = sock.send_parts(head, payload)
            except OSError as error:
                self._lose(error)
                raise LinkLost(f"the connection broke: {error.strerror or error}") from error
        if sent < len(head) + size:
            self._hand_over(head, payload, sent)
            await self._all_written()

    def _hand_over(self, head: bytes, payload: Payload, sent: int) -> None:
        """Hand what the socket did not take to the library, which goes on when it is writable."""
        # The caller may change a buffer once it stops waiting; bytes it cannot.
        whole = memoryview(payload if isinstance(payload, bytes) else bytes(payload))
        rest = head[sent:] + whole if sent < len(head) else whole[sent - len(head) :]
        # Command 0: bytes to write, and nothing to do once they are. The library only slices them, though it
        # says that it wants bytes, and queues nothing by a public name.
        self._client._packet_queue(0, rest, 0, 0)  # type: ignore[arg-type] # noqa: SLF001

    async def _all_written(self) -> None:
        if self._written is None or self._written.done():
            self._written = self._loop.create_future()
        await asyncio.shield(self._written)

    async def send_reliably(
        self, topic: str, payload: Payload, *, retain: bool, properties: Properties | None
    ) -> None:
        """Publish with QoS 1; returns when the broker has acknowledged.

        Raises:
            PayloadTooLarge: nothing was written.
            PublishRefused: acknowledged with a failure code.
            LinkLost: the connection ended first; it may have arrived.
        """
        packed = packets.PackedProperties(properties)
        data = payload if isinstance(payload, bytes) else bytes(payload)
        self._check_size(topic, len(data), 1, packed.pack() if self.protocol == 5 else b"")
        async with self._slots:
            if self.ended.done():
                raise LinkLost("not connected to the broker")
            with self._direct_writes():
                # A memoryview does as well as the bytes that the library's types name.
                info = self._client.publish(topic, data, 1, retain, packed)  # type: ignore[arg-type]
            if info.rc != paho.MQTT_ERR_SUCCESS:
                raise LinkLost("not connected to the broker")
            code = await self._acknowledgement(info.mid)
        if code >= 0x80:
            raise PublishRefused(topic, code)

    async def _acknowledgement(self, packet_id: int) -> int:
        acknowledged: asyncio.Future[int] = self._loop.create_future()
        self._acknowledgements[packet_id] = acknowledged
        try:
            return await acknowledged
        finally:
            self._acknowledgements.pop(packet_id, None)

    def _on_publish(
        self,
        client: paho.Client,  # noqa: ARG002 - the library's signature
        userdata: Any,  # noqa: ANN401, ARG002 - as above
        mid: int,
        reason_code: ReasonCode,
        properties: PahoProperties,  # noqa: ARG002 - as above
    ) -> None:
        acknowledged = self._acknowledgements.get(mid)
        if acknowledged is not None and not acknowledged.done():
            acknowledged.set_result(reason_code.value)

    async def subscribe_all(self, subscriptions: Iterable[tuple[str, int]]) -> None:
        """Subscribe.

        Raises:
            SubscribeRefused: by the broker.
            LinkLost: the connection ended first, or no answer came.
        """
        wanted = list(subscriptions)
        if not wanted:
            return
        topics: Any = (
            [(each, SubscribeOptions(qos=qos)) for each, qos in wanted] if self.protocol == 5 else wanted
        )
        try:
            codes = await self.subscribe(topics)
        except aiomqtt.MqttError as error:
            raise LinkLost(f"no answer to a subscription: {error}") from error
        for (topic_filter, _), code in zip(wanted, codes, strict=True):
            value = int(code.value) if isinstance(code, ReasonCode) else int(code)  # type: ignore[call-overload] # untyped upstream
            if value >= 0x80:
                raise SubscribeRefused(topic_filter, value)

    # ---- writing to the socket -----------------------------------------------------------------------

    @contextlib.contextmanager
    def _direct_writes(self) -> Any:  # noqa: ANN401 - an iterator of nothing
        """What the library queues inside is written at the end, not in a later turn of the loop."""
        self._writes_itself = True
        try:
            yield
        finally:
            self._writes_itself = False
            self._write()

    def _write(self) -> None:
        try:
            self._client.loop_write()
        except Exception as error:  # noqa: BLE001 - whatever it is, the connection is over
            self._lose(error)
        self._await_writable()

    def _lose(self, error: BaseException) -> None:
        if not self._disconnected.done():
            self._disconnected.set_exception(error)

    def _await_writable(self) -> None:
        sock = self._client.socket()
        if sock is not None and self._client.want_write():
            self._loop.add_writer(sock.fileno(), self._write)

    def _on_socket_register_write(self, client: paho.Client, userdata: Any, sock: Any) -> None:  # noqa: ANN401, ARG002 - the library's signature
        if threading.get_ident() != self._thread_id:
            self._loop.call_soon_threadsafe(self._await_writable)
        elif not self._writes_itself:
            self._await_writable()

    def _on_socket_unregister_write(self, client: paho.Client, userdata: Any, sock: Any) -> None:  # noqa: ANN401 - the library's signature
        super()._on_socket_unregister_write(client, userdata, sock)
        if self._written is not None and not self._written.done() and not client.want_write():
            self._written.set_result(None)


def _connect_properties(endpoint: Endpoint, max_payload_bytes: int) -> PahoProperties:
    properties = PahoProperties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = endpoint.session_expiry_s
    properties.ReceiveMaximum = min(endpoint.queue_limit, _RECEIVE_MAXIMUM)
    properties.MaximumPacketSize = max_payload_bytes + _HEAD_BYTES
    return properties
