"""One suite on four sites: the in-memory broker, mosquitto with MQTT 5 and 3.1.1, amqtt.

Where a broker differs, `KNOWN_DIFFERENCES` says why, and the test asserts that it still does.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bus.connection import Delivery, Endpoint, LinkDown, LinkUp, Properties, Will
from bus.errors import LinkLost, LocalProtocolError, PayloadTooLarge
from tests.support.broker import Listener, run
from tests.support.broker_sites import SITES, Site, site_of

# (site, behaviour) -> why. docs/brokers.md is held against this table.
KNOWN_DIFFERENCES: dict[tuple[str, str], str] = {
    ("mosquitto-3.1.1", "properties"): "MQTT 3.1.1 has no properties",
    ("mosquitto-3.1.1", "message_expiry"): "MQTT 3.1.1 has no message expiry",
    ("mosquitto-3.1.1", "receive_maximum"): "MQTT 3.1.1 has no ReceiveMaximum; mosquitto sends 20 ahead",
    ("mosquitto-3.1.1", "takeover_told"): "MQTT 3.1.1 cannot say why it hangs up",
    ("mosquitto-5", "takeover_told"): "mosquitto 2.0 hangs up without a DISCONNECT when a client takes over",
    ("mosquitto-5", "overlap"): "mosquitto delivers once for each filter of an MQTT 5 client",
    ("amqtt", "overlap"): "amqtt delivers once for each filter",
    ("amqtt", "properties"): "amqtt speaks MQTT 3.1.1 only",
    ("amqtt", "message_expiry"): "amqtt speaks MQTT 3.1.1 only",
    ("amqtt", "receive_maximum"): "amqtt speaks MQTT 3.1.1 only",
    ("amqtt", "takeover"): "amqtt keeps both clients of one id connected",
    ("amqtt", "sessions"): "amqtt loses what was sent to a session while its client was away",
    ("amqtt", "dollar_topics"): "amqtt delivers nothing more once somebody has published to a $-topic",
}

BARRIER = "barrier"
on_every_site = pytest.mark.parametrize("name", SITES)


def differs(site: Site, behaviour: str) -> bool:
    return (site.name, behaviour) in KNOWN_DIFFERENCES


def check(name: str, test: Callable[[Site], Awaitable[None]]) -> None:
    async def main() -> None:
        async with site_of(name) as site:
            await test(site)

    run(main())


def endpoint(client_id: str, *filters: str, qos: int = 0, **more: object) -> Endpoint:
    return Endpoint(client_id, subscriptions=tuple((each, qos) for each in filters), **more)  # type: ignore[arg-type]


@on_every_site
def test_a_retained_message_reaches_a_later_subscriber_until_an_empty_one_clears_it(name: str) -> None:
    async def test(site: Site) -> None:
        async with site.connect(endpoint("writer")) as writer:
            await writer.publish("r/one", b"kept", qos=1, retain=True)
            async with site.connect(endpoint("early", "r/+", BARRIER)) as early:
                got = await Listener(early).delivery("r/one")
                assert bytes(got.payload) == b"kept"
                assert got.retained
            await writer.publish("r/one", b"", qos=1, retain=True)
            async with site.connect(endpoint("late", "r/+", BARRIER)) as late:
                listener = Listener(late)
                await writer.publish(BARRIER, b"", qos=1)
                await listener.delivery(BARRIER)
                assert "r/one" not in listener.topics()

    check(name, test)


@on_every_site
def test_a_will_is_published_when_the_link_breaks_and_not_after_a_goodbye(name: str) -> None:
    async def test(site: Site) -> None:
        will = Will("w/state", b"lost")
        async with site.connect(endpoint("watcher", "w/#", qos=1)) as watcher:
            listener = Listener(watcher)
            farewell = [("w/state", b"bye")]
            async with site.connect(endpoint("polite", will=will, farewell=lambda: farewell)) as polite:
                await polite.publish("other", b"", qos=1)  # it has lived for a while
            assert bytes((await listener.delivery("w/state")).payload) == b"bye"
            async with site.connect(endpoint("victim", will=will)):
                site.cut("victim")
                assert bytes((await listener.delivery("w/state")).payload) == b"lost"
                payloads = [bytes(e.payload) for e in listener.seen if isinstance(e, Delivery)]
                assert payloads == [b"bye", b"lost"]

    check(name, test)


@on_every_site
@pytest.mark.parametrize(
    ("topic_filter", "matching", "other"),
    [
        ("a/+/c", "a/b/c", "a/b/d/c"),
        ("a/#", "a/b/c", "ab/c"),
        ("a/#", "a", "b"),
        ("+/b", "x/b", "x/y/b"),
        ("#", "any/thing", "$other/thing"),
        ("a/b", "a/b", "a/B"),
    ],
)
def test_filters_match_as_the_standard_says(name: str, topic_filter: str, matching: str, other: str) -> None:
    async def test(site: Site) -> None:
        subscriptions = endpoint("reader", topic_filter, BARRIER)
        async with site.connect(subscriptions) as reader, site.connect(endpoint("writer")) as writer:
            listener = Listener(reader)
            await writer.publish(other, b"")
            if other.startswith("$") and differs(site, "dollar_topics"):
                await writer.publish(matching, b"", qos=1)
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(1):  # the one way to see that nothing comes any more
                        await listener.delivery(matching)
                return
            await writer.publish(matching, b"")
            await writer.publish(BARRIER, b"")
            await listener.delivery(BARRIER)
            assert other not in listener.topics()
            assert matching in listener.topics()

    check(name, test)


@on_every_site
def test_what_was_not_acknowledged_comes_again_after_a_reconnect_and_what_was_does_not(name: str) -> None:
    async def test(site: Site) -> None:
        reader_of = endpoint("reader", "q/+", BARRIER, qos=1, session_expiry_s=60)
        async with site.connect(reader_of) as reader, site.connect(endpoint("writer")) as writer:
            listener = Listener(reader)
            await writer.publish("q/1", b"", qos=1)
            await listener.delivery("q/1", ack=True)
            await writer.publish("q/2", b"", qos=1)
            await listener.delivery("q/2", ack=False)
            await _settle(site)
            site.cut("reader")
            await listener.kind(LinkDown)
            await writer.publish("q/3", b"", qos=1)
            listener.seen.clear()
            site.restore("reader")
            await listener.kind(LinkUp)
            await writer.publish(BARRIER, b"", qos=1)
            await listener.delivery(BARRIER)
            missed = [] if differs(site, "sessions") else ["q/2", "q/3"]
            assert listener.topics() == [*missed, BARRIER]

    check(name, test)


async def _settle(site: Site) -> None:
    """Let an acknowledgement reach the broker: a round trip of another client goes behind it."""
    async with site.connect(endpoint("settle")) as other:
        await other.publish("settle", b"", qos=1)


@on_every_site
def test_without_session_expiry_nothing_waits_for_a_client_that_was_away(name: str) -> None:
    async def test(site: Site) -> None:
        async with (
            site.connect(endpoint("reader", "q/+", BARRIER, qos=1)) as reader,
            site.connect(endpoint("writer")) as writer,
        ):
            listener = Listener(reader)
            await listener.kind(LinkUp)
            site.cut("reader")
            await listener.kind(LinkDown)
            await writer.publish("q/1", b"", qos=1)
            site.restore("reader")
            await listener.kind(LinkUp)
            await writer.publish(BARRIER, b"", qos=1)
            await listener.delivery(BARRIER)
            assert "q/1" not in listener.topics()

    check(name, test)


@on_every_site
def test_a_session_outlives_its_link(name: str) -> None:
    async def test(site: Site) -> None:
        async with site.connect(endpoint("writer")) as writer:
            async with site.connect(endpoint("reader", "q/+", qos=1, session_expiry_s=60)):
                pass
            await writer.publish("q/1", b"", qos=1)
            # No subscription is asked for this time: the session remembers it.
            async with site.connect(endpoint("reader", session_expiry_s=60)) as reader:
                listener = Listener(reader)
                await reader.subscribe(BARRIER)
                await writer.publish(BARRIER, b"", qos=1)
                await listener.delivery(BARRIER)
                assert ("q/1" in listener.topics()) != differs(site, "sessions")

    check(name, test)


@on_every_site
def test_a_session_holds_fifty_messages_and_the_newest_give_way(name: str) -> None:
    async def test(site: Site) -> None:
        away = endpoint("reader", "q/+", qos=1, session_expiry_s=60)
        async with site.connect(endpoint("writer")) as writer:
            async with site.connect(away):
                pass
            for number in range(60):
                await writer.publish(f"q/{number}", b"", qos=1)  # acknowledged all the same
            async with site.connect(away) as reader:
                listener = Listener(reader)
                await reader.subscribe(BARRIER)
                if not differs(site, "sessions"):
                    await listener.delivery("q/49")
                await writer.publish(BARRIER, b"", qos=1)
                await listener.delivery(BARRIER)
                held = [] if differs(site, "sessions") else [f"q/{number}" for number in range(50)]
                assert listener.topics() == [*held, BARRIER]

    check(name, test)


@on_every_site
def test_what_two_filters_of_one_client_match_is_delivered_once(name: str) -> None:
    async def test(site: Site) -> None:
        async with site.connect(endpoint("both", "a/#", "a/+", BARRIER)) as both:
            listener = Listener(both)
            await both.publish("a/b", b"", qos=1)
            await both.publish(BARRIER, b"", qos=1)
            await listener.delivery(BARRIER)
            assert listener.topics().count("a/b") == 1 + differs(site, "overlap")

    check(name, test)


@on_every_site
def test_a_message_expires_while_it_waits(name: str) -> None:
    async def test(site: Site) -> None:
        reader_of = endpoint("reader", "q/+", qos=1, session_expiry_s=60)
        async with site.connect(reader_of) as reader, site.connect(endpoint("writer")) as writer:
            listener = Listener(reader)
            await listener.kind(LinkUp)
            site.cut("reader")
            await listener.kind(LinkDown)
            await writer.publish("q/1", b"", qos=1, properties=Properties(expiry_s=1))
            await writer.publish("r/1", b"x", qos=1, retain=True, properties=Properties(expiry_s=1))
            # Expiry is counted in whole seconds of the broker's clock: this one wait is the subject.
            await asyncio.sleep(2.1)
            async with site.connect(endpoint("late", "r/+", BARRIER)) as late:
                waiting = Listener(late)
                await writer.publish(BARRIER, b"", qos=1)
                await waiting.delivery(BARRIER)
                assert ("r/1" in waiting.topics()) == differs(site, "message_expiry")
            site.restore("reader")
            await listener.kind(LinkUp)
            await writer.publish("q/2", b"", qos=1)
            await listener.delivery("q/2")
            kept = differs(site, "message_expiry") and not differs(site, "sessions")
            assert ("q/1" in listener.topics()) == kept

    check(name, test)


@on_every_site
def test_properties_arrive(name: str) -> None:
    async def test(site: Site) -> None:
        sent = Properties("back/here", b"\x00\x01", "application/json", 60, (("traceparent", "00-1"),))
        async with site.connect(endpoint("both", "p")) as both:
            for qos in (0, 1):
                await both.publish("p", b"", qos=qos, properties=sent)
            listener = Listener(both)
            for _ in range(2):
                got = await listener.delivery("p")
                assert got.properties == (None if differs(site, "properties") else sent)

    check(name, test)


@on_every_site
def test_unacknowledged_deliveries_hold_the_broker_back(name: str) -> None:
    async def test(site: Site) -> None:
        reader_of = endpoint("reader", "q/+", qos=1, queue_limit=4)
        async with (
            site.connect(reader_of) as reader,
            site.connect(endpoint("writer")) as writer,
            asyncio.timeout(15),
        ):
            listener = Listener(reader)
            await listener.kind(LinkUp)
            for number in range(10):
                await writer.publish(f"q/{number}", b"", qos=1)
            held = [await listener.delivery(f"q/{number}", ack=False) for number in range(4)]
            # QoS 0 is not held back: it proves that the fifth would have been here by now.
            await reader.subscribe(BARRIER)
            await writer.publish(BARRIER, b"")
            await listener.delivery(BARRIER, ack=False)
            early = [topic for topic in listener.topics() if topic.startswith("q/")]
            assert (len(early) > 4) == differs(site, "receive_maximum")
            for each in held:
                each.ack()
            for event in listener.seen:
                if isinstance(event, Delivery):
                    event.ack()
            if "q/9" not in early:
                await listener.delivery("q/9")
            assert [t for t in listener.topics() if t != BARRIER] == [f"q/{n}" for n in range(10)]

    check(name, test)


@on_every_site
def test_a_slow_reader_of_qos_0_sees_the_newest_and_knows_how_many_it_missed(name: str) -> None:
    async def test(site: Site) -> None:
        async with (
            site.connect(endpoint("reader", "n/+", BARRIER, queue_limit=3)) as reader,
            site.connect(endpoint("writer", "n/+", BARRIER)) as writer,
        ):
            for number in range(10):
                await writer.publish(f"n/{number}", b"")
            await writer.publish(BARRIER, b"")
            # The reader's own loop runs meanwhile; the writer hears the last one after all were sent.
            await Listener(writer).delivery(BARRIER)
            async with asyncio.timeout(10):
                while reader.dropped < 8:  # noqa: ASYNC110 - a counter has no event to wait for
                    await asyncio.sleep(0)
            listener = Listener(reader)
            await listener.delivery(BARRIER)
            assert listener.topics() == ["n/8", "n/9", BARRIER]
            assert reader.dropped == 8

    check(name, test)


@on_every_site
def test_a_payload_over_the_limit_is_refused_before_the_write(name: str) -> None:
    async def test(site: Site) -> None:
        async with site.connect(endpoint("both", "t/#"), max_payload_bytes=1000) as both:
            for qos in (0, 1):
                with pytest.raises(PayloadTooLarge) as caught:
                    await both.publish("t/big", bytes(1001), qos=qos)
                assert (caught.value.size_bytes, caught.value.limit_bytes) == (1001, 1000)
            await both.publish("t/fits", bytes(1000))
            listener = Listener(both)
            assert len((await listener.delivery("t/fits")).payload) == 1000
            assert listener.topics() == ["t/fits"]

    check(name, test)


@on_every_site
@pytest.mark.parametrize("qos", [0, 1])
def test_a_megabyte_arrives_whole(name: str, qos: int) -> None:
    async def test(site: Site) -> None:
        payload = bytes(range(256)) * 4096 + b"end"
        async with site.connect(endpoint("both", "big", qos=qos)) as both:
            await both.publish("big", payload, qos=qos)
            await both.publish("big", memoryview(payload), qos=qos)
            listener = Listener(both)
            for _ in range(2):
                assert bytes((await listener.delivery("big")).payload) == payload

    check(name, test)


@on_every_site
@pytest.mark.parametrize("qos", [0, 1])
def test_messages_of_one_topic_keep_their_order(name: str, qos: int) -> None:
    async def test(site: Site) -> None:
        reader_of = endpoint("reader", "o", qos=qos, queue_limit=200)
        async with site.connect(reader_of) as reader, site.connect(endpoint("writer")) as writer:
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(_payloads(reader, 100), name="reader")
                for number in range(100):
                    # Large ones between small ones: what does not fit the socket must not be overtaken.
                    await writer.publish("o", b"%d" % number + bytes(300_000 * (number % 10 == 0)), qos=qos)
            assert [int(each.rstrip(b"\0")) for each in listening.result()] == list(range(100))

    check(name, test)


async def _payloads(reader: object, count: int) -> list[bytes]:
    listener = Listener(reader)  # type: ignore[arg-type] # a connection
    return [bytes((await listener.delivery("o")).payload) for _ in range(count)]


@on_every_site
def test_a_second_client_with_the_same_id_takes_over(name: str) -> None:
    async def test(site: Site) -> None:
        async with site.connect(endpoint("same")) as first:
            listener = Listener(first)
            await listener.kind(LinkUp)
            async with site.connect(endpoint("same")) as second:
                assert second.protocol in {4, 5}
                if differs(site, "takeover"):
                    await first.publish("t", b"", qos=1)
                    return
                down = await listener.kind(LinkDown)
                assert down.taken_over != differs(site, "takeover_told")

    check(name, test)


@on_every_site
def test_after_a_reconnect_it_is_subscribed_and_announced_before_link_up(name: str) -> None:
    async def test(site: Site) -> None:
        boot = 1

        def announce() -> list[tuple[str, bytes]]:
            return [("s/node", b"online %d" % boot)]

        async with site.connect(endpoint("watcher", "s/#", qos=1)) as watcher:
            watching = Listener(watcher)
            async with site.connect(endpoint("node", "t", announce=announce)) as node:
                listener = Listener(node)
                assert bytes((await watching.delivery("s/node")).payload) == b"online 1"
                await listener.kind(LinkUp)
                site.cut("node")
                await listener.kind(LinkDown)
                with pytest.raises(LinkLost):
                    await node.publish("t", b"")
                with pytest.raises(LinkLost):
                    await node.subscribe("later")
                boot = 2
                site.restore("node")
                await listener.kind(LinkUp)
                assert bytes((await watching.delivery("s/node")).payload) == b"online 2"
                await node.publish("t", b"")
                await listener.delivery("t")
                await node.publish("later", b"")
                await listener.delivery("later")

    check(name, test)


@on_every_site
def test_a_topic_with_a_wildcard_and_qos_2_are_our_own_mistakes(name: str) -> None:
    async def test(site: Site) -> None:
        async with site.connect(endpoint("both")) as both:
            for topic, qos in (("a/+", 0), ("", 0), ("a", 2)):
                with pytest.raises(LocalProtocolError):
                    await both.publish(topic, b"", qos=qos)
            with pytest.raises(LocalProtocolError):
                await both.subscribe("a/#/b")

    check(name, test)


def test_the_documented_differences_are_the_asserted_ones() -> None:
    page = Path(__file__).parents[2] / "docs" / "brokers.md"
    rows = [line.strip("| \n").split(" | ") for line in page.read_text().splitlines() if " | " in line]
    assert {(site, behaviour): why for site, behaviour, why in rows[1:]} == KNOWN_DIFFERENCES
