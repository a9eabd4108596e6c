"""One device's namespace: a shaped pair of interfaces to the root, and one beside it that is not shaped."""

import asyncio
import contextlib
import socket
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from pyroute2 import AsyncIPRoute, netns

from lab.namespaces.names import Names
from lab.namespaces.shaper import MTU_BYTES, Shaper

_UPLINK, _LAB = "uplink", "lab"  # inside, where names are the device's own
_BITS = 30
_NETLINK_ROUTE = 0  # linux/netlink.h


class DeviceNet:
    """Namespace, interfaces and queues of one device; an asynchronous context manager that removes them.

    Args:
        names: of all of it.

    Attributes:
        names: as given.
        up: shapes what leaves the device. down: what comes to it.
    """

    up: Shaper
    down: Shaper

    def __init__(self, names: Names) -> None:
        self.names = names
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._lay()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _lay(self) -> None:
        names, stack = self.names, self._stack
        # One netlink each: the kernel lists queues to one asker at a time.
        self._root = root = await stack.enter_async_context(AsyncIPRoute())
        await _create(names.place)
        stack.callback(netns.remove, names.namespace)
        inside = await stack.enter_async_context(_netlink_of(names.namespace))
        await self._pair(inside, names.uplink, _UPLINK, lab=False)
        await self._pair(inside, names.lab_link, _LAB, lab=True)
        await inside.link("set", index=await index_of(inside, "lo"), state="up")
        with entered(names.namespace):
            knock = _packet_socket(_UPLINK)
        self.up = Shaper(inside, await index_of(inside, _UPLINK), knock)
        stack.callback(self.up.close)
        self.down = Shaper(root, await index_of(root, names.uplink), _packet_socket(names.uplink))
        stack.callback(self.down.close)
        for shaper in (self.up, self.down):
            await shaper.lay()

    async def _pair(self, inside: AsyncIPRoute, outer: str, inner: str, *, lab: bool) -> None:
        """Lay one pair with an address at each end."""
        names, root = self.names, self._root
        await root.link(
            "add", ifname=outer, kind="veth", peer={"ifname": inner, "net_ns_fd": names.namespace}
        )
        self._stack.push_async_callback(remove_link, root, outer)
        for netlink, name, within in ((root, outer, False), (inside, inner, True)):
            index = await index_of(netlink, name)
            address = names.address(lab=lab, inside=within)
            await netlink.addr("add", index=index, address=address, prefixlen=_BITS)
            await netlink.link("set", index=index, state="up", **({} if lab else {"mtu": MTU_BYTES}))


async def index_of(netlink: AsyncIPRoute, name: str) -> int:
    """Return an interface's number.

    Raises:
        RuntimeError: there is none of that name.
    """
    found = await netlink.link_lookup(ifname=name)
    if not found:
        raise RuntimeError(f"the interface {name} has gone")
    return int(found[0])


async def remove_link(netlink: AsyncIPRoute, name: str) -> None:
    """Remove an interface and with it the other end of its pair, if it is there."""
    for index in await netlink.link_lookup(ifname=name):
        await netlink.link("del", index=index)


@contextmanager
def entered(namespace: str) -> Iterator[None]:
    """Let this thread be in a namespace for the block, in which nothing may be awaited."""
    netns.pushns(namespace)
    try:
        yield
    finally:
        netns.popns()


async def _create(place: Path) -> None:
    """Make a namespace that stays until its file goes; pyroute2 would fork, and share our signals' pipe.

    Raises:
        OSError: the kernel refuses, or there is one of that name.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch(exist_ok=False)  # noqa: ASYNC240 - /run is in memory
    process = await asyncio.create_subprocess_exec("unshare", f"--net={place}", "true", stderr=PIPE)
    _, said = await process.communicate()
    if process.returncode:
        place.unlink()  # noqa: ASYNC240 - as above
        raise OSError(said.decode(errors="replace").strip())


def _netlink_of(namespace: str) -> AsyncIPRoute:
    """Return netlink of a namespace; here too pyroute2 would fork."""
    with entered(namespace):
        end = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_ROUTE)
    return AsyncIPRoute(fileno=end.detach())


def _packet_socket(interface: str) -> socket.socket:
    knock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK)
    knock.bind((interface, 0))
    return knock
