"""Three brokers behind one handle, for the conformance suite."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from bus.connection import Connection, Endpoint
from bus.memory import MemoryBroker
from bus.mqtt import open_connection
from cans.broker.process import BrokerProcess
from tests.support.broker import CutProxy, amqtt, mosquitto


class Site(Protocol):
    """A broker, and what can be done to its clients."""

    name: str

    def connect(
        self, endpoint: Endpoint, *, max_payload_bytes: int = 8 * 1024 * 1024
    ) -> contextlib.AbstractAsyncContextManager[Connection]: ...

    def cut(self, client_id: str) -> None:
        """Pull the cable; the client may come back when `restore` is called."""

    def restore(self, client_id: str) -> None: ...


class MemorySite:
    name = "memory"

    def __init__(self) -> None:
        self.broker = MemoryBroker()

    def connect(
        self, endpoint: Endpoint, *, max_payload_bytes: int = 8 * 1024 * 1024
    ) -> contextlib.AbstractAsyncContextManager[Connection]:
        return self.broker.connect(endpoint, max_payload_bytes=max_payload_bytes)

    def cut(self, client_id: str) -> None:
        self.broker.cut(client_id, stay_away=True)

    def restore(self, client_id: str) -> None:
        self.broker.restore(client_id)


@dataclass
class RealSite:
    name: str
    process: BrokerProcess
    protocol: int
    proxies: dict[str, CutProxy]
    stack: contextlib.AsyncExitStack

    @contextlib.asynccontextmanager
    async def connect(
        self, endpoint: Endpoint, *, max_payload_bytes: int = 8 * 1024 * 1024
    ) -> AsyncIterator[Connection]:
        proxy = self.proxies.get(endpoint.client_id)
        if proxy is None:
            proxy = await self.stack.enter_async_context(CutProxy(self.process.address))
            self.proxies[endpoint.client_id] = proxy
        async with open_connection(
            proxy.address,
            endpoint,
            max_payload_bytes=max_payload_bytes,
            protocols=(self.protocol,),
        ) as connection:
            yield connection

    def cut(self, client_id: str) -> None:
        proxy = self.proxies[client_id]
        proxy.refusing = True
        proxy.cut()

    def restore(self, client_id: str) -> None:
        self.proxies[client_id].refusing = False


SITES = ("memory", "mosquitto-5", "mosquitto-3.1.1", "amqtt")


@contextlib.asynccontextmanager
async def site_of(name: str) -> AsyncIterator[Site]:
    """Run the broker of that name."""
    if name == "memory":
        yield MemorySite()
        return
    protocol = 5 if name == "mosquitto-5" else 4
    async with (
        amqtt() if name == "amqtt" else mosquitto() as process,
        contextlib.AsyncExitStack() as stack,
    ):
        yield RealSite(name, process, protocol, {}, stack)
