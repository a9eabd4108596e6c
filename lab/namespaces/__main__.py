"""The process that holds network namespaces: `python -m lab.namespaces --target HOST:PORT --link ...`.

One namespace a device, with a link that the kernel shapes, and a cgroup with a CPU quota. It prints one JSON
line with where each device's namespace, cgroup and ways to the broker are, then obeys the JSON lines that
`lab.links` obeys. When its standard input is closed, or it is told to end, it waits for the devices to leave,
ends those that stay, and removes everything. It needs root on Linux, and pyroute2.
"""

import argparse
import asyncio
import fcntl
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

from pyroute2 import AsyncIPRoute

from bus.errors import ConfigurationError
from lab.links import LONGEST_ORDER_BYTES, LinkSpec, parse_link
from lab.marks import mark
from lab.namespaces.held_link import HeldLink
from lab.namespaces.names import BLOCKS, LARGEST_SITE, NAMESPACES, Names, prefix_of, run_of
from lab.namespaces.quota import CpuGroups, members, remove, require_groups
from lab.testbed.together import together

# Who starts this one ends it after 8 s.
_LEAVE_S = 5.0
_POLL_S = 0.05

Ready = Callable[[dict[str, Any]], None]


async def serve(
    target: tuple[str, int], specs: dict[str, LinkSpec], slowness: dict[str, float], ready: Ready
) -> None:
    """Hold everything and obey standard input until it is closed.

    Raises:
        ConfigurationError: this machine cannot do that.
    """
    orders, groups = await _orders(), require_groups()
    if len(specs) > LARGEST_SITE:
        raise ConfigurationError(f"at most {LARGEST_SITE} devices have addresses: leave some out")
    async with AsyncExitStack() as stack:
        links, described = {}, {}
        with _alone():
            block, run = await _free_block(), run_of(mark())
            for number, (name, spec) in enumerate(specs.items()):
                names = Names(run, number, block)
                links[name] = await stack.enter_async_context(HeldLink(names, spec, target))
                group = _group(stack, groups, names.namespace, slowness.get(name, 1.0))
                described[name] = links[name].described | {"cgroup": str(group)}
        stack.push_async_callback(_until_left, [Path(each["cgroup"]) for each in described.values()])
        ready(described)
        await _obey(links, orders)


@contextmanager
def _alone() -> Iterator[None]:
    """Let no other site of this machine look for free addresses meanwhile; blocks for as long as one does."""
    NAMESPACES.mkdir(parents=True, exist_ok=True)
    place = os.open(NAMESPACES, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)


async def _free_block() -> int:
    """Return a block of addresses that no interface has."""
    async with AsyncIPRoute() as root:
        taken = [str(each.get_attr("IFA_LOCAL")) async for each in await root.get_addr()]
    for block in range(BLOCKS):
        if not any(address.startswith(prefix_of(block)) for address in taken):
            return block
    raise ConfigurationError("every address from 198.18.0.0 to 198.19.255.255 is taken: remove some")


def _group(stack: AsyncExitStack, groups: CpuGroups, name: str, slowness: float) -> Path:
    group = groups.make(name, slowness)
    stack.push_async_callback(asyncio.to_thread, remove, group)
    return group


async def _until_left(groups: Sequence[Path]) -> None:
    """Wait until the devices have left by themselves, but not for ever."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + _LEAVE_S
    while any(map(members, groups)) and loop.time() < ends:  # noqa: ASYNC110 - see below
        await asyncio.sleep(_POLL_S)  # nobody tells when a cgroup has become empty


async def _orders() -> asyncio.StreamReader:
    """Return standard input, which SIGTERM and SIGINT end too: what is held is then let go in order."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LONGEST_ORDER_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, reader.feed_eof)
    return reader


async def _obey(links: dict[str, HeldLink], orders: asyncio.StreamReader) -> None:
    while line := await orders.readline():
        order = json.loads(line)
        if "settle" in order:
            await together(links[name].settle() for name in order["settle"])
            print(json.dumps({"settled": order["settle"]}), flush=True)
        else:
            await links[order["link"]].obey(order)


def _target(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def _named_number(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    return name, float(number)


def main() -> int:
    """Run until standard input is closed or a signal comes."""
    parser = argparse.ArgumentParser(prog="python -m lab.namespaces", description=__doc__)
    parser.add_argument("--target", required=True, type=_target, help="broker, HOST:PORT")
    parser.add_argument("--link", action="append", default=[], type=parse_link, help="as lab.links takes it")
    parser.add_argument(
        "--slowness", action="append", default=[], type=_named_number, help="NAME=NUMBER: a share of one core"
    )
    given = parser.parse_args()

    def ready(described: dict[str, Any]) -> None:
        print(json.dumps(described), flush=True)

    try:
        # asyncio's own loop: pyroute2's sockets are of a family that uvloop does not know.
        asyncio.run(serve(given.target, dict(given.link), dict(given.slowness), ready))
    except ConfigurationError as error:
        print(f"cans: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
