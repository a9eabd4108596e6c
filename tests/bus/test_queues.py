import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.connection import ConnectionEvent, Delivery, Endpoint, LinkDown, LinkUp
from bus.errors import LocalProtocolError
from bus.queues import AckWindow, Inbox


def _drain(inbox: Inbox) -> list[ConnectionEvent]:
    events = []
    while (event := inbox.take()) is not None:
        events.append(event)
    return events


def test_the_oldest_qos_0_gives_way_and_qos_1_never_does() -> None:
    inbox = Inbox(2)
    for topic, qos in (("a", 0), ("b", 1), ("c", 0), ("d", 1), ("e", 0), ("f", 1)):
        inbox.put(Delivery(topic, b"", qos))
    assert [event.topic for event in _drain(inbox) if isinstance(event, Delivery)] == list("bcdef")
    assert inbox.dropped == 1
    inbox.put(Delivery("g", b""))
    assert len(inbox) == 1


def test_a_queue_without_room_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="queue_limit is 0"):
        Endpoint("cam-1", queue_limit=0)


def test_outages_nobody_read_of_become_one_and_a_takeover_is_not_forgotten() -> None:
    inbox = Inbox(2)
    for _ in range(100):
        inbox.put(LinkDown("old", taken_over=True))
        inbox.put(LinkUp(5))
    inbox.put(LinkDown("new"))
    assert _drain(inbox) == [LinkDown("new", taken_over=True)]
    inbox.put(LinkUp(5))
    inbox.put(LinkDown("x"))
    assert _drain(inbox) == [LinkUp(5), LinkDown("x")]


def test_a_delivery_between_two_outages_keeps_both() -> None:
    inbox = Inbox(2)
    events: list[ConnectionEvent] = [
        LinkDown("a"),
        LinkUp(5),
        Delivery("t", b"", 1),
        LinkDown("b"),
        LinkUp(5),
    ]
    for event in events:
        inbox.put(event)
    assert _drain(inbox) == events


def test_a_reader_wakes_for_an_event_and_ends_when_closed() -> None:
    async def main() -> list[ConnectionEvent]:
        inbox = Inbox(2)

        async def read() -> list[ConnectionEvent]:
            return [event async for event in inbox.read()]

        reading = asyncio.create_task(read())
        await asyncio.sleep(0)
        inbox.put(LinkUp(5))
        inbox.put(Delivery("t", b""))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        inbox.close()
        inbox.close()
        return await reading

    assert asyncio.run(main()) == [LinkUp(5), Delivery("t", b"")]


@given(st.permutations(range(1, 9)), st.lists(st.integers(0, 9), max_size=5))
def test_acknowledgements_leave_in_order_of_receipt_whatever_order_they_come_in(
    order: list[int], strangers: list[int]
) -> None:
    window = AckWindow()
    for packet_id in range(1, 9):
        window.received(packet_id)
    sent: list[int] = []
    for packet_id in order:
        sent += window.handled(packet_id)
        sent += window.handled(packet_id)  # twice changes nothing
    for stranger in strangers:
        assert window.handled(stranger) == []
    assert sent == list(range(1, 9))
