"""Real brokers for tests, one per test, and a proxy that cuts connections.

`CANS_REQUIRE_MOSQUITTO=1` turns a missing mosquitto into a failure; otherwise its tests are skipped.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest

from bus.address import BrokerAddress
from bus.connection import Connection, ConnectionEvent, Delivery
from cans.broker.process import BrokerProcess, BrokerSettings, find_mosquitto

T = TypeVar("T")
PATIENCE_S = 20.0


def need_mosquitto() -> None:
    """Skip the test without mosquitto, or fail it where the environment promises one."""
    if find_mosquitto() is None:
        if os.environ.get("CANS_REQUIRE_MOSQUITTO") == "1":
            pytest.fail("CANS_REQUIRE_MOSQUITTO=1 but mosquitto is not installed")
        pytest.skip("mosquitto is not installed")


def quiet(line: str) -> None:
    """Take a broker's log line and forget it."""


@contextlib.asynccontextmanager
async def mosquitto(
    state_dir: Path | None = None,
    *,
    config: str = "dev",
    identities: tuple[str, ...] = (),
    on_line: Callable[[str], None] = quiet,
) -> AsyncIterator[BrokerProcess]:
    """Run mosquitto on a free port."""
    need_mosquitto()
    settings = BrokerSettings(
        config=config, port=0, state_dir=state_dir, engine="mosquitto", identities=identities
    )
    async with BrokerProcess(settings, on_line) as broker:
        yield broker


@contextlib.asynccontextmanager
async def amqtt() -> AsyncIterator[BrokerProcess]:
    """Run amqtt on a free port."""
    async with BrokerProcess(BrokerSettings(port=0, engine="amqtt"), quiet) as broker:
        yield broker


class CutProxy:
    """Forwards TCP to a broker; `cut` ends all connections without a goodbye, `refusing` keeps them away."""

    def __init__(self, target: BrokerAddress) -> None:
        self.refusing = False
        self.port = 0
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    @property
    def address(self) -> BrokerAddress:
        return BrokerAddress("127.0.0.1", self.port)

    def cut(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        try:
            upstream_reader, upstream = await asyncio.open_connection(self._target.host, self._target.port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, upstream}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, upstream), name="to broker")
                group.create_task(_pump(upstream_reader, writer), name="from broker")
        finally:
            self._writers -= {writer, upstream}
            writer.transport.abort()
            upstream.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    # An end on one side is an end on both: a client that said goodbye expects the broker to hang up.
    writer.close()


class Listener:
    """Reads a connection's events in one task, so that a test can wait for the one it wants."""

    def __init__(self, connection: Connection) -> None:
        self.seen: list[ConnectionEvent] = []
        self._events = connection.events()

    async def until(self, wanted: Callable[[ConnectionEvent], bool], *, ack: bool = True) -> ConnectionEvent:
        """Return the next event that is wanted; the others are acknowledged and kept in `seen`."""
        async with asyncio.timeout(PATIENCE_S):
            async for event in self._events:
                self.seen.append(event)
                if isinstance(event, Delivery) and ack:
                    event.ack()
                if wanted(event):
                    return event
        raise AssertionError("the connection was closed before the event came")

    async def delivery(self, topic: str, *, ack: bool = True) -> Delivery:
        """Return the next delivery on a topic."""

        def wanted(event: ConnectionEvent) -> bool:
            return isinstance(event, Delivery) and event.topic == topic

        event = await self.until(wanted, ack=ack)
        assert isinstance(event, Delivery)
        return event

    async def kind(self, kind: type[T]) -> T:
        """Return the next event of a type."""
        event = await self.until(lambda each: isinstance(each, kind))
        assert isinstance(event, kind)
        return event

    def topics(self) -> list[str]:
        """Topics of all deliveries so far."""
        return [event.topic for event in self.seen if isinstance(event, Delivery)]


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a test's coroutine, never longer than a broker could reasonably take."""

    async def bounded() -> T:
        async with asyncio.timeout(3 * PATIENCE_S):
            return await main

    return asyncio.run(bounded())
