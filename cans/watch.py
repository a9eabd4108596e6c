"""Prints what is on the bus: any topic, msgpack and JSON decoded, tensors summarised.

It reads and never publishes; it has no will and keeps no session, so watching changes nothing. It loads
neither torch nor any role.
"""

import asyncio
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from bus.address import BrokerAddress
from bus.connection import Delivery, Endpoint, LinkDown, LinkUp
from bus.filters import require_filters
from bus.mqtt import open_connection
from bus.topics import INFER, REPLY, TABLE, Topics, topics_below
from cans.payloads import decode_payload

# A person reads slower than devices write: a burst may wait here, and the oldest is dropped and counted.
_QUEUE_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """What to watch.

    Attributes:
        broker: where.
        filters: topic filters; empty for every topic of the table but those that carry tensors.
        prefix: first levels of the table's topics.
        one_line: one JSON object a line, for programs; else for people.
        count: stop after so many messages; None for never.
        seconds: stop after so long; None for never.
    """

    broker: BrokerAddress
    filters: tuple[str, ...] = ()
    prefix: str = Topics().prefix
    one_line: bool = False
    count: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        """Refuse what no broker would take.

        Raises:
            ConfigurationError: a filter that is none.
        """
        require_filters(self.filters)
        topics_below(self.prefix)

    def topic_filters(self) -> tuple[str, ...]:
        """The filters to subscribe to."""
        topics = Topics(self.prefix)
        return self.filters or tuple(topics.filter(topic) for topic in TABLE if topic not in {INFER, REPLY})


async def watch(settings: WatchSettings, out: TextIO) -> int:
    """Print until told to stop; returns how many messages were printed.

    Raises:
        ConfigurationError: if the broker cannot be reached or says no.
    """
    show = line_printer(out) if settings.one_line else page_printer(out)
    seen = 0
    endpoint = Endpoint(
        client_id=f"watch-{secrets.token_hex(4)}",
        subscriptions=tuple((topic_filter, 0) for topic_filter in settings.topic_filters()),
        queue_limit=_QUEUE_LIMIT,
    )
    async with open_connection(settings.broker, endpoint) as connection:
        try:
            async with asyncio.timeout(settings.seconds):
                async for event in connection.events():
                    match event:
                        case Delivery():
                            show(event)
                            event.ack()
                            seen += 1
                            if seen == settings.count:
                                break
                        case LinkUp(protocol) if not settings.one_line:
                            print(f"-- connected, MQTT {'5' if protocol == 5 else '3.1.1'}", file=out)
                        case LinkDown(reason) if not settings.one_line:
                            print(f"-- connection lost: {reason}", file=out)
        except TimeoutError:
            pass
        if connection.dropped and not settings.one_line:
            print(f"-- {connection.dropped} messages came faster than they could be shown", file=out)
    return seen


def describe(delivery: Delivery) -> dict[str, Any]:
    """Return what there is to say about a message, ready for JSON."""
    return {
        "topic": delivery.topic,
        "bytes": memoryview(delivery.payload).nbytes,
        "qos": delivery.qos,
        "retained": delivery.retained,
        "data": decode_payload(bytes(delivery.payload)),
    }


def line_printer(out: TextIO) -> Callable[[Delivery], None]:
    """One JSON object a line."""

    def show(delivery: Delivery) -> None:
        print(json.dumps(describe(delivery), ensure_ascii=False), file=out, flush=True)

    return show


def page_printer(out: TextIO) -> Callable[[Delivery], None]:
    """A heading and indented JSON for each message."""
    console = Console(file=out, highlight=False, soft_wrap=True)

    def show(delivery: Delivery) -> None:
        about = describe(delivery)
        marks = f"{about['bytes']} bytes, QoS {about['qos']}{', retained' if about['retained'] else ''}"
        # Text, not markup: whoever can publish must not be able to draw on the terminal.
        console.print(Text(_printable(about["topic"]), style="bold"), Text(marks, style="dim"))
        console.print(Text(_printable(json.dumps(about["data"], indent=2, ensure_ascii=False))))

    return show


def _printable(text: str) -> str:
    """Without control characters, which a terminal would obey."""
    return "".join(char if char.isprintable() or char == "\n" else f"\\x{ord(char):02x}" for char in text)
