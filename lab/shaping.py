"""What emulated links really do: what they carry a second, and how long a small message waits.

The shaping proxy and the kernel's token bucket, each as a testbed lays it. A second connection
of the same device sends the small message right behind a large one: it waits for what the link queues.
"""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab.links import LinkSpec
from lab.namespaces.names import Names, run_of
from lab.proxy import LinkProxy

if TYPE_CHECKING:
    from lab.namespaces.held_link import HeldLink

MOST_OFF = 0.05
"""Share that a link may carry more or less than its setting."""
_DOWN_MBIT = 20.0
_DELAY_MS = 10.0
_SMALL_BYTES, _LARGE_BYTES = 64, 256 * 1024
_TIMEOUT_S = 60.0
_REST_S = 1.0
# Where tried links have their addresses, away from those of a testbed.
_BLOCK = 510

Address = tuple[str, int]
Dial = Callable[[], Awaitable[asyncio.StreamWriter]]
Lay = Callable[[Address, LinkSpec], AbstractAsyncContextManager[Dial]]


class _End(asyncio.Protocol):
    """One connection of a sink."""

    def __init__(self, sink: "Sink") -> None:
        self._sink = sink
        self._arrivals: list[tuple[float, int]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take its place."""
        del transport
        self._sink.arrivals.append(self._arrivals)

    def data_received(self, data: bytes) -> None:
        """Note what has come."""
        self._arrivals.append((asyncio.get_running_loop().time(), len(data)))
        self._sink.came.set()


@dataclass(slots=True)
class Sink:
    """Takes all that comes. `arrivals`: moment and bytes, of one connection after the other."""

    arrivals: list[list[tuple[float, int]]] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, connection: int, size: int) -> None:
        """Wait until so many bytes have come on a connection."""
        async with asyncio.timeout(_TIMEOUT_S):
            while (
                len(self.arrivals) <= connection or sum(each for _, each in self.arrivals[connection]) < size
            ):
                self.came.clear()
                await self.came.wait()


@asynccontextmanager
async def sunk() -> AsyncIterator[tuple[Sink, Address]]:
    """Listen on loopback with a sink."""
    sink = Sink()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _End(sink), "127.0.0.1", 0)
    try:
        yield sink, server.sockets[0].getsockname()
    finally:
        server.close()


@asynccontextmanager
async def by_proxy(target: Address, spec: LinkSpec) -> AsyncIterator[Dial]:
    """Lay a link as `--mode portable` does."""

    async def dial() -> asyncio.StreamWriter:
        return (await asyncio.open_connection("127.0.0.1", link.port))[1]

    async with LinkProxy(*target, up=spec.up, down=spec.down) as link:
        yield dial


@asynccontextmanager
async def by_kernel(target: Address, spec: LinkSpec) -> AsyncIterator[Dial]:
    """Lay a link as `--mode netns` does; what dials is in the namespace."""
    async with held_by_kernel(target, spec) as (_, dial):
        yield dial


@asynccontextmanager
async def held_by_kernel(target: Address, spec: LinkSpec) -> AsyncIterator[tuple["HeldLink", Dial]]:
    """As `by_kernel`, with the link itself."""
    from lab.namespaces.device_net import entered  # noqa: PLC0415 - needs pyroute2, an extra
    from lab.namespaces.held_link import HeldLink  # noqa: PLC0415

    names = Names(run_of(secrets.token_hex()), 0, _BLOCK)

    async def dial() -> asyncio.StreamWriter:
        with entered(names.namespace):
            end = socket.socket()
        end.setblocking(False)
        await asyncio.get_running_loop().sock_connect(end, (link.described["host"], link.described["port"]))
        return (await asyncio.open_connection(sock=end))[1]

    async with HeldLink(names, spec, target) as link:
        yield link, dial


async def goodput_mbit(lay: Lay, rate_mbit: float, seconds: float) -> float:
    """Return million bits a second that arrive, while the link is busy for so long."""
    async with sunk() as (sink, target), lay(target, LinkSpec(rate_mbit, _DOWN_MBIT, _DELAY_MS)) as dial:
        size = round(rate_mbit * 1e6 / 8.0 * seconds)
        writer = await dial()
        writer.write(bytes(size))
        await sink.until(0, size)
        writer.close()
        first, *_, last = arrivals = sink.arrivals[0]
        return sum(each for _, each in arrivals[1:]) * 8.0 / 1e6 / (last[0] - first[0])


async def after_rest_ms(lay: Lay, rate_mbit: float, size: int) -> float:
    """Return from sending to arrival of so many bytes on a link that has rested, without its delay.

    A bucket that has filled in the rest lets a part pass at once: who probes with less than a bucket sees a
    good link.
    """
    async with sunk() as (sink, target), lay(target, LinkSpec(rate_mbit, _DOWN_MBIT, _DELAY_MS)) as dial:
        writer = await dial()
        writer.write(b"!")
        await sink.until(0, 1)
        await asyncio.sleep(_REST_S)
        sent = asyncio.get_running_loop().time()
        writer.write(bytes(size))
        await sink.until(0, 1 + size)
        writer.close()
        return 1e3 * (sink.arrivals[0][-1][0] - sent) - _DELAY_MS


async def waits_ms(lay: Lay, rate_mbit: float) -> float:
    """Return from sending to arrival of a small message behind a large one on another connection."""
    async with sunk() as (sink, target), lay(target, LinkSpec(rate_mbit, _DOWN_MBIT, _DELAY_MS)) as dial:
        writers = []
        for number in range(2):
            writers.append(await dial())
            # One byte each, so that both are connected to the sink, in this order.
            writers[number].write(b"!")
            await sink.until(number, 1)
        large, small = writers
        large.write(bytes(_LARGE_BYTES))
        await sink.until(0, 2)  # the link is busy with it
        sent = asyncio.get_running_loop().time()
        small.write(bytes(_SMALL_BYTES))
        await sink.until(1, 1 + _SMALL_BYTES)
        waited = sink.arrivals[1][-1][0] - sent
        await sink.until(0, 1 + _LARGE_BYTES)
        for writer in writers:
            writer.close()
        return 1e3 * waited
