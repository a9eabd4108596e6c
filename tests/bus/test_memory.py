"""What the in-memory broker can do beyond a real one: the controls of a test."""

import asyncio

import pytest

from bus.connection import Delivery, Endpoint, LinkDown, LinkUp, Properties, Will
from bus.errors import BrokerRefused, BrokerUnreachable, LinkLost, PublishRefused
from bus.memory import MemoryBroker
from tests.support.broker import Listener, run


def test_a_stopped_broker_is_unreachable_and_publishes_no_wills() -> None:
    async def main() -> None:
        broker = MemoryBroker()
        endpoint = Endpoint("a", will=Will("w", b"lost"))
        async with broker.connect(endpoint) as connection:
            listener = Listener(connection)
            await connection.publish("kept", b"x", retain=True)
            broker.stop()
            await listener.kind(LinkDown)
            with pytest.raises(LinkLost):
                await connection.publish("t", b"")
            with pytest.raises(BrokerUnreachable):
                async with broker.connect(Endpoint("b")):
                    pass
            async with broker.connect(Endpoint("c"), wait=True) as waiting:
                later = Listener(waiting)
                await later.kind(LinkDown)
                broker.start()
                await later.kind(LinkUp)
                await listener.kind(LinkUp)
            assert broker.retained("w") is None
            assert broker.retained("kept") == b"x"
            broker.stop(forget=True)
            assert broker.retained("kept") is None

    run(main())


def test_a_cut_client_comes_back_by_itself_unless_it_is_kept_away() -> None:
    async def main() -> None:
        broker = MemoryBroker()
        async with broker.connect(Endpoint("a", will=Will("w", b"lost"))) as connection:
            listener = Listener(connection)
            await listener.kind(LinkUp)
            broker.cut("a")
            broker.cut("a")
            await listener.kind(LinkDown)
            await listener.kind(LinkUp)
            assert broker.retained("w") == b"lost"
            broker.cut("a", stay_away=True)
            for _ in range(5):
                await asyncio.sleep(0)
            with pytest.raises(LinkLost):
                await connection.subscribe("t")
            broker.restore("a")
            await listener.kind(LinkUp)

    run(main())


def test_the_acl_refuses_qos_1_and_swallows_qos_0() -> None:
    async def main() -> None:
        broker = MemoryBroker(may_publish=lambda client_id, topic: topic != f"no/{client_id}")
        async with broker.connect(Endpoint("a", subscriptions=(("#", 0),))) as connection:
            await connection.publish("no/a", b"")
            with pytest.raises(PublishRefused) as caught:
                await connection.publish("no/a", b"", qos=1)
            assert caught.value.reason_code == 0x87
            await connection.publish("yes", b"")
            listener = Listener(connection)
            await listener.delivery("yes")
            assert listener.topics() == ["yes"]
        with pytest.raises(BrokerRefused):
            async with broker.connect(Endpoint("b", announce=lambda: [("no/b", b"")])):
                pass
        async with broker.connect(Endpoint("c", farewell=lambda: [("no/c", b"")])):
            pass

    run(main())


def test_time_is_what_the_test_says() -> None:
    async def main() -> None:
        now = [0.0]
        broker = MemoryBroker(clock=lambda: now[0])
        away = Endpoint("r", subscriptions=(("q", 1),), session_expiry_s=100)
        async with broker.connect(Endpoint("w")) as writer:
            async with broker.connect(away):
                pass
            for expiry_s in (5, 50, None):
                await writer.publish("q", b"x", qos=1, retain=True, properties=Properties(expiry_s=expiry_s))
            now[0] = 10.5
            async with broker.connect(away) as reader:
                listener = Listener(reader)
                first = await listener.delivery("q")
                assert first.properties == Properties(expiry_s=40)
                assert (await listener.delivery("q")).properties == Properties()
            await writer.publish("gone", b"x", retain=True, properties=Properties(expiry_s=1))
            now[0] = 111.0
            assert broker.retained("gone") is None
            await writer.publish("q", b"x", qos=1)  # finds the session over
            async with broker.connect(away) as reader:
                listener = Listener(reader)
                assert (await listener.delivery("q")).retained
                assert sum(isinstance(each, Delivery) for each in listener.seen) == 1

    run(main())


def test_qos_0_is_not_kept_for_a_session_that_is_away() -> None:
    async def main() -> None:
        broker = MemoryBroker()
        away = Endpoint("r", subscriptions=(("q/+", 1),), session_expiry_s=100)
        async with broker.connect(away):
            pass
        async with broker.connect(Endpoint("w")) as writer:
            await writer.publish("q/0", b"")
            await writer.publish("q/1", b"", qos=1)
        async with broker.connect(away) as reader:
            listener = Listener(reader)
            await listener.delivery("q/1")
            assert listener.topics() == ["q/1"]

    run(main())


def test_a_session_holds_no_more_than_its_queue() -> None:
    async def main() -> None:
        broker = MemoryBroker(max_queued=3, protocol=4)
        away = Endpoint("r", subscriptions=(("q/+", 1),), session_expiry_s=100)
        async with broker.connect(away):
            pass
        async with broker.connect(Endpoint("w")) as writer:
            for number in range(5):
                await writer.publish(f"q/{number}", b"", qos=1, properties=Properties(expiry_s=1))
        async with broker.connect(away) as reader:
            listener = Listener(reader)
            got = await listener.delivery("q/2")
            assert got.properties is None
            assert listener.topics() == ["q/0", "q/1", "q/2"]

    run(main())
