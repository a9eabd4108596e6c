"""One interface's way out, shaped by the kernel's token bucket (tc-tbf(8)), told over netlink.

A rate here is what a stream of full packets carries, as the shaping proxy has it: tbf counts headers too, and
is given so much more. What waits is bounded by TCP itself: sender and queue are on one machine, where Linux
lets a connection queue little below its socket (TCP small queues).
"""

import contextlib
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pyroute2 import AsyncIPRoute

_HANDLE = 0x10000
MTU_BYTES = 576
"""Of both ends of a shaped pair: the least that every host takes (RFC 791). A bucket holds a packet at least,
and after a rest it passes at once whatever the rate: packets of 1500 bytes would let three quarters of a link
check of 2 kB through a link of 50 kbit/s unseen."""
_PACKET_BYTES = MTU_BYTES + 14
_CARRIED_BYTES = MTU_BYTES - 52  # without the headers of IP and TCP with its timestamps
# May be sent at once beyond a packet, as the proxy's slices; less and late wake-ups cost rate.
_BURST_S = 0.004
# Never reached by TCP of the same machine, see above: nothing is lost.
_LIMIT_BYTES = 4_000_000
OPEN_MBIT = 10_000.0
"""As good as no limit: to empty a link."""
# A frame of a kind that nobody listens to (IEEE 802, local experimental), to nobody.
_NOTHING = bytes(12) + b"\x88\xb5" + bytes(46)


class Traffic(NamedTuple):
    """What an interface has sent so far and what waits, bytes."""

    sent: int
    waiting: int


def parameters(mbit_s: float) -> dict[str, int]:
    """Return tbf's own: bytes a second, bytes at once, bytes that may wait."""
    rate = mbit_s * 1e6 / 8.0 * _PACKET_BYTES / _CARRIED_BYTES
    return {
        "rate": max(1, round(rate)),
        "burst": _PACKET_BYTES + round(rate * _BURST_S),
        "limit": _LIMIT_BYTES,
    }


class Shaper:
    """A token bucket on one interface.

    Args:
        netlink: of its namespace.
        index: of the interface.
        knock: packet socket bound to it. After a change of rate the kernel goes on waiting as the old rate
            had it, until something is sent; at 20 kbit/s that is half a second of the new one.
    """

    def __init__(self, netlink: "AsyncIPRoute", index: int, knock: socket.socket) -> None:
        self._netlink = netlink
        self._index = index
        self._knock = knock
        self.rate_mbit = OPEN_MBIT

    async def lay(self) -> None:
        """Shape from now on, at first as good as not."""
        await self._netlink.tc("add", "tbf", self._index, _HANDLE, **parameters(OPEN_MBIT))

    async def change(self, mbit_s: float) -> None:
        """Carry so much from now on, what waits included."""
        await self._netlink.tc("change", "tbf", self._index, _HANDLE, **parameters(mbit_s))
        self.rate_mbit = mbit_s
        with contextlib.suppress(OSError):  # the queue is full: then it moves
            self._knock.send(_NOTHING)

    async def traffic(self) -> Traffic:
        """Return what has been sent and what waits."""
        # Read to its end: the kernel gives one such list at a time.
        queues: list[Any] = [each async for each in await self._netlink.get_qdiscs(self._index)]
        found = queues[0].get_attr("TCA_STATS2")
        sent = found.get_attr("TCA_STATS_BASIC")["bytes"]
        return Traffic(int(sent), int(found.get_attr("TCA_STATS_QUEUE")["backlog"]))

    def close(self) -> None:
        """Close the socket; the queue goes with its interface."""
        self._knock.close()
