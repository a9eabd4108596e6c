"""`cans watch` on a real broker: what is printed, and when it stops."""

import asyncio
import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from bus.address import BrokerAddress
from bus.connection import Delivery, Endpoint
from bus.errors import ConfigurationError
from bus.mqtt import open_connection
from bus.topics import INFER, STATE, STATS, Topics
from bus.wire import encode
from cans.watch import WatchSettings, describe, page_printer, watch
from tests.support.broker import mosquitto
from tests.support.samples import SAMPLES

TOPICS = Topics()
BY_TOPIC = dict(reversed(SAMPLES))


class _Paper(io.StringIO):
    """Says when a topic of ours has been printed."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = asyncio.Event()

    def write(self, text: str) -> int:
        if "cans/v1/" in text:
            self.shown.set()
        return super().write(text)


def _watched(make: Callable[[BrokerAddress], WatchSettings]) -> str:
    """What it prints of a retained state, a device's statistics and an activation."""

    async def main() -> str:
        out = _Paper()
        async with mosquitto() as broker, open_connection(broker.address, Endpoint("writer")) as writer:
            state = TOPICS.of(STATE, role="device", id="cam-1")
            await writer.publish(state, encode(STATE, BY_TOPIC[STATE]), qos=1, retain=True)
            task = asyncio.create_task(watch(make(broker.address), out))
            await out.shown.wait()  # it has subscribed once it shows the retained state
            activation = TOPICS.of(INFER, edge="edge-1", device="cam-1")
            await writer.publish(activation, encode(INFER, BY_TOPIC[INFER]), qos=1)
            upload = TOPICS.of(STATS, type="pi4", device="cam-1")
            await writer.publish(upload, encode(STATS, BY_TOPIC[STATS]), qos=1)
            assert await task == 2
        return out.getvalue()

    return asyncio.run(main())


def test_one_json_object_a_line_and_no_tensors_unless_asked_for() -> None:
    text = _watched(lambda broker: WatchSettings(broker, one_line=True, count=2))
    first, second = (json.loads(line) for line in text.splitlines())
    assert (first["topic"], first["retained"]) == ("cans/v1/state/device/cam-1", True)
    assert second["topic"] == "cans/v1/stats/pi4/cam-1"
    assert second["data"]["gram"] == "<24 bytes: float64, d = 2>"


def test_filters_choose_and_pages_are_for_people() -> None:
    filters = ("cans/v1/state/#", "cans/v1/infer/#")
    text = _watched(lambda broker: WatchSettings(broker, filters, count=2))
    assert "-- connected, MQTT 5" in text
    assert "cans/v1/infer/edge-1/cam-1" in text
    assert "<4 bytes: int8 1x2x2, int8-zstd>" in text


def test_it_stops_after_its_time() -> None:
    async def main() -> int:
        async with mosquitto() as broker:
            return await watch(WatchSettings(broker.address, seconds=0.05), io.StringIO())

    assert asyncio.run(main()) == 0


@pytest.mark.parametrize("show", [page_printer])
def test_nobody_draws_on_the_terminal_through_a_payload(show: Any) -> None:
    out = io.StringIO()
    show(out)(Delivery("t/\x1b[31m", b'{"a": "\x1b[2J[bold]x[/bold]\x9b"}'))
    show(out)(Delivery("t", b'{"a": "\\u001b[2J\\u009b[bold]x[/bold]"}'))
    text = out.getvalue()
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert "[bold]x[/bold]" in text


def test_a_message_is_described_for_json() -> None:
    about = describe(Delivery("a/b", b"", qos=1, retained=True))
    assert about == {"topic": "a/b", "bytes": 0, "qos": 1, "retained": True, "data": None}


def test_a_filter_that_no_broker_takes_is_a_sentence() -> None:
    with pytest.raises(ConfigurationError, match="no topic filter"):
        WatchSettings(BrokerAddress(), ("a/#/b",))
