"""What the conformance suite cannot ask of every broker: faults around one real connection."""

import asyncio
import socket
import threading

import pytest

from bus.address import BrokerAddress
from bus.connection import Delivery, Endpoint, LinkDown, LinkUp
from bus.errors import BrokerBusy, BrokerUnreachable, LinkLost, PayloadTooLarge
from bus.mqtt import open_connection
from cans.broker.places import free_port
from cans.broker.process import BrokerProcess, BrokerSettings
from tests.support.broker import CutProxy, Listener, mosquitto, need_mosquitto, quiet, run


def test_a_device_may_wait_for_a_broker_that_starts_later() -> None:
    need_mosquitto()

    async def main() -> None:
        port = free_port()
        address = BrokerAddress("127.0.0.1", port)
        with pytest.raises(BrokerUnreachable):
            async with open_connection(address, Endpoint("a")):
                pass
        async with open_connection(address, Endpoint("a"), first_connect="wait") as connection:
            listener = Listener(connection)
            assert connection.protocol == 0
            assert "nobody listens" in (await listener.kind(LinkDown)).reason
            with pytest.raises(LinkLost):
                await connection.publish("t", b"")
            async with BrokerProcess(BrokerSettings(port=port), quiet):
                await listener.kind(LinkUp)
                assert connection.protocol == 5
                await connection.publish("t", b"", qos=1)

    run(main())


def test_neither_side_lets_nagle_wait() -> None:
    async def main() -> None:
        async with mosquitto() as broker:
            assert "set_tcp_nodelay true\n" in (broker.state_dir / "mosquitto.conf").read_text()
            async with open_connection(broker.address, Endpoint("a")) as connection:
                sock = connection._client._socket._sock  # type: ignore[attr-defined]
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0

    run(main())


def test_a_broker_that_is_killed_is_found_again() -> None:
    async def main() -> None:
        async with mosquitto() as broker:
            endpoint = Endpoint("a", subscriptions=(("t", 1),))
            async with open_connection(broker.address, endpoint) as connection:
                listener = Listener(connection)
                await listener.kind(LinkUp)
                await broker.kill()
                await listener.kind(LinkDown)
                await broker.restart()
                await listener.kind(LinkUp)
                await connection.publish("t", b"again", qos=1)
                assert bytes((await listener.delivery("t")).payload) == b"again"

    run(main())


class _DeafBroker:
    """A TCP server that answers CONNECT and acknowledges nothing, counting the publishes it reads."""

    def __init__(self) -> None:
        self.received = b""
        self.writers: list[asyncio.StreamWriter] = []
        self.published = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        await reader.read(4096)
        writer.write(b"\x20\x03\x00\x00\x00")
        while data := await reader.read(4096):
            self.received += data
            if b"unique" in data:
                self.published.set()
        writer.close()


def test_a_pending_publish_fails_with_the_link_and_is_not_sent_again_behind_our_back() -> None:
    async def main() -> None:
        deaf = _DeafBroker()
        server = await asyncio.start_server(deaf.serve, "127.0.0.1", 0)
        async with server:
            address = BrokerAddress("127.0.0.1", server.sockets[0].getsockname()[1])
            async with open_connection(address, Endpoint("a")) as connection:
                listener = Listener(connection)
                await listener.kind(LinkUp)
                publish = asyncio.create_task(connection.publish("t", b"unique", qos=1))
                await deaf.published.wait()
                deaf.writers[0].transport.abort()
                with pytest.raises(LinkLost):
                    await publish
                await listener.kind(LinkUp)
                await connection.publish("t", b"unique later")
                deaf.published.clear()
                await deaf.published.wait()
                assert deaf.received.count(b"unique") == 2
                deaf.writers[-1].transport.abort()

    run(main())


def test_an_acknowledgement_may_come_from_a_worker_thread() -> None:
    async def main() -> None:
        async with mosquitto() as broker:
            endpoint = Endpoint("a", subscriptions=(("t", 1),), queue_limit=1)
            async with open_connection(broker.address, endpoint) as connection:
                listener = Listener(connection)
                for number in range(3):
                    await connection.publish("t", b"%d" % number, qos=1)
                for number in range(3):
                    # ReceiveMaximum is 1: the next comes only once this one is acknowledged.
                    delivery = await listener.delivery("t", ack=False)
                    assert bytes(delivery.payload) == b"%d" % number
                    thread = threading.Thread(target=delivery.ack)
                    thread.start()
                    await asyncio.to_thread(thread.join)
                    delivery.ack()

    run(main())


def test_the_brokers_own_packet_limit_is_honoured() -> None:
    async def main() -> None:
        async with mosquitto() as broker:
            limit = 64 * 1024 * 1024
            async with open_connection(broker.address, Endpoint("a"), max_payload_bytes=limit) as connection:
                for qos in (0, 1):
                    with pytest.raises(PayloadTooLarge) as caught:
                        await connection.publish("t", bytes(9 * 1024 * 1024), qos=qos)
                    fits = caught.value.limit_bytes
                    assert 8 * 1024 * 1024 - 20 < fits < 8 * 1024 * 1024
                    await connection.publish("t", bytes(fits), qos=qos)
                    with pytest.raises(PayloadTooLarge):
                        await connection.publish("t", bytes(fits + 1), qos=qos)
                await connection.publish("t", b"still connected", qos=1)
                assert connection.packet_limit_bytes == (8 * 1024 * 1024 if connection.protocol == 5 else 0)

    run(main())


def test_cuts_in_the_middle_of_large_payloads_lose_nothing_but_those() -> None:
    async def main() -> None:
        async with mosquitto() as broker, CutProxy(broker.address) as proxy:
            endpoint = Endpoint("a", subscriptions=(("t", 0),))
            async with open_connection(proxy.address, endpoint) as connection:
                listener = Listener(connection)
                await listener.kind(LinkUp)
                publish = asyncio.create_task(connection.publish("t", bytes(6_000_000)))
                await asyncio.sleep(0)
                proxy.cut()
                await listener.kind(LinkDown)
                assert isinstance((await asyncio.wait_for(_outcome(publish), 10)), LinkLost | None)
                await listener.kind(LinkUp)
                await connection.publish("t", b"whole")
                got = await listener.until(lambda e: isinstance(e, Delivery) and len(e.payload) < 100)
                assert isinstance(got, Delivery)
                assert bytes(got.payload) == b"whole"

    run(main())


def test_giving_up_while_connecting_leaves_nothing_behind() -> None:
    async def main() -> None:
        connected = asyncio.Event()

        async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connected.set()
            await reader.read()
            writer.close()

        server = await asyncio.start_server(silence, "127.0.0.1", 0)
        async with server:
            address = BrokerAddress("127.0.0.1", server.sockets[0].getsockname()[1])

            async def connect() -> None:
                async with open_connection(address, Endpoint("a")):
                    pass

            before = asyncio.all_tasks()
            task = asyncio.create_task(connect())
            await connected.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                async with asyncio.timeout(4):
                    await task
            names = {each.get_name() for each in asyncio.all_tasks() - before}
            assert not any("mqtt" in name for name in names)

    run(main())


def test_what_is_asked_for_while_connecting_is_there_at_link_up() -> None:
    """A publish or subscribe in that moment is told `LinkLost`; the set-up that goes on takes it along."""

    async def main() -> None:
        async with mosquitto() as broker, CutProxy(broker.address) as proxy:
            said = [b"ready"]
            calls = asyncio.Event()

            def announce() -> list[tuple[str, bytes]]:
                calls.set()
                return [("s/a", said[0])]

            endpoint = Endpoint("a", announce=announce)
            watch = Endpoint("w", subscriptions=(("s/#", 1),))
            async with (
                open_connection(broker.address, watch) as watcher,
                open_connection(proxy.address, endpoint) as connection,
            ):
                listener, watching = Listener(connection), Listener(watcher)
                await listener.kind(LinkUp)
                calls.clear()
                proxy.cut()
                await calls.wait()  # the announcement of the next connect is under way
                with pytest.raises(LinkLost):
                    await connection.subscribe("late")
                said[0] = b"sleeping"
                await listener.kind(LinkUp)
                await connection.publish("late", b"heard")
                assert bytes((await listener.delivery("late")).payload) == b"heard"
                await watching.until(lambda e: isinstance(e, Delivery) and bytes(e.payload) == b"sleeping")

    run(main())


@pytest.mark.parametrize(("unlucky", "connects"), [(2, True), (3, False)])
def test_a_broker_too_busy_to_finish_is_asked_again_before_giving_up(unlucky: int, connects: bool) -> None:
    """It takes the connection and then hangs up before what was subscribed to is granted."""

    async def main() -> None:
        async with mosquitto() as broker:
            inner = CutProxy(broker.address)
            attempts = 0

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                nonlocal attempts
                attempts += 1
                if attempts > unlucky:
                    await inner._forward(reader, writer)
                    return
                await reader.read(1024)
                writer.write(b"\x20\x03\x00\x00\x00")  # CONNACK of MQTT 5: welcome
                await reader.read(1024)
                writer.close()

            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            async with server:
                address = BrokerAddress("127.0.0.1", server.sockets[0].getsockname()[1])
                endpoint = Endpoint("a", subscriptions=(("t", 1),))
                if connects:
                    async with open_connection(address, endpoint) as connection:
                        assert connection.protocol == 5
                else:
                    with pytest.raises(BrokerBusy, match="went away while connecting"):
                        async with open_connection(address, endpoint):
                            pass
            assert attempts == 3
            inner.cut()

    run(main())


class _Hiccup:
    """Forwards to a broker, but closes the first connections after their CONNECT, without a word."""

    def __init__(self, target: BrokerAddress, fails: int) -> None:
        self._inner = CutProxy(target)
        self.fails = fails

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.fails:
            self.fails -= 1
            await reader.read(1024)
            writer.close()
            return
        await self._inner._forward(reader, writer)

    def cut(self) -> None:
        self._inner.cut()


def test_one_hiccup_is_no_reason_to_speak_an_older_protocol_for_ever() -> None:
    async def main() -> None:
        async with mosquitto() as broker:
            hiccup = _Hiccup(broker.address, 1)
            server = await asyncio.start_server(hiccup.serve, "127.0.0.1", 0)
            async with server:
                address = BrokerAddress("127.0.0.1", server.sockets[0].getsockname()[1])
                async with open_connection(address, Endpoint("a")) as connection:
                    listener = Listener(connection)
                    assert (await listener.kind(LinkUp)).protocol == 4  # it may have been an old broker
                    hiccup.cut()
                    assert (await listener.kind(LinkUp)).protocol == 5
                    hiccup.fails = 1
                    hiccup.cut()
                    assert (await listener.kind(LinkUp)).protocol == 5
                hiccup.cut()

    run(main())


def test_who_stood_first_is_not_ended_by_a_newcomer_of_the_same_id(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr("bus.mqtt._STOOD_S", 0.0)
        async with mosquitto() as broker:
            same = Endpoint("same")
            async with open_connection(broker.address, same) as one, open_connection(broker.address, same):
                listener = Listener(one)
                for _ in range(4):
                    assert not (await listener.kind(LinkDown)).taken_over

    run(main())


def test_a_flood_of_small_messages_leaves_the_loop_to_others() -> None:
    async def main() -> None:
        async with mosquitto() as broker:
            reader = Endpoint("r", subscriptions=(("t", 0),), queue_limit=20_000)
            async with (
                open_connection(broker.address, reader) as connection,
                open_connection(broker.address, Endpoint("w")) as writer,
            ):
                most = 0
                taken = 0
                inner = connection.inbox.put  # type: ignore[attr-defined]

                def count(event: object) -> None:
                    nonlocal taken
                    taken += 1
                    inner(event)

                connection._client.deliver = count  # type: ignore[attr-defined]
                for _ in range(5000):
                    await writer.publish("t", b"x")
                await writer.publish("t", b"", qos=1)
                while taken < 5001:
                    before = taken
                    await asyncio.sleep(0)
                    most = max(most, taken - before)
                # Two reads may fall into one turn of the loop: one by readiness, one left over.
                assert most <= 2 * 64

    run(main())


async def _outcome(task: "asyncio.Task[None]") -> BaseException | None:
    await asyncio.wait({task})
    return task.exception()
