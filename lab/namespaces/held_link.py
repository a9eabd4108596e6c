"""One device's link, held: its namespace, the rate's trace, the delay, and the way to the broker.

The kernel makes the rate. tbf knows no delay and netem is not everywhere, so the delay is made by the shaping
proxy with no rate to speak of, which also lets the broker stay on loopback.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Self

from lab.links import LinkSpec
from lab.namespaces.device_net import DeviceNet
from lab.namespaces.names import Names
from lab.namespaces.playing import Playing
from lab.namespaces.shaper import OPEN_MBIT
from lab.proxy import LinkProxy, Shape

# The proxy's buffer goes by its rate: so fast that it never holds back what tbf lets through.
_DELAY_ONLY_MBIT = 1_000.0
_POLL_S = 0.003


class HeldLink:
    """An asynchronous context manager that lays it and removes it.

    Args:
        names: of the device.
        spec: rates and delay; its jitter and loss are the proxy's to make.
        target: the broker, host and port.
    """

    def __init__(self, names: Names, spec: LinkSpec, target: tuple[str, int]) -> None:
        def late(shape: Shape) -> Shape:
            return Shape(_DELAY_ONLY_MBIT, shape.delay_ms, shape.jitter_ms, shape.loss)

        self._spec = spec
        self._net = DeviceNet(names)
        self._delayed = LinkProxy(
            *target, host=names.address(lab=False, inside=False), up=late(spec.up), down=late(spec.down)
        )
        self._orders = LinkProxy(*target, host=names.address(lab=True, inside=False))
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            net = await stack.enter_async_context(self._net)
            await net.up.change(self._spec.up_mbit)
            await net.down.change(self._spec.down_mbit)
            self._playing = Playing(net.up)
            stack.push_async_callback(self._playing.stop)
            for proxy in (self._delayed, self._orders):
                await stack.enter_async_context(proxy)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def described(self) -> dict[str, Any]:
        """Where the device runs and what it reaches the broker by."""
        names = self._net.names
        return {
            "namespace": names.namespace,
            "host": names.address(lab=False, inside=False),
            "port": self._delayed.port,
            "orders_host": names.address(lab=True, inside=False),
            "orders_port": self._orders.port,
        }

    @property
    def rates_mbit(self) -> tuple[float, float]:
        """What the way up and the way down carry at present."""
        return self._net.up.rate_mbit, self._net.down.rate_mbit

    async def obey(self, order: dict[str, Any]) -> None:
        """Carry out one order, as `lab.links` has them."""
        if order.get("reset"):
            self._delayed.reset()
        if "black_hole" in order:
            self._delayed.black_hole(on=bool(order["black_hole"]))
        if "trace_mbit" in order:
            await self.play(order["trace_mbit"], float(order.get("at_s", 0.0)))
        if "up_mbit" in order:
            await self._net.up.change(float(order["up_mbit"]))
        if "down_mbit" in order:
            await self._net.down.change(float(order["down_mbit"]))

    async def play(self, mbit_s: Sequence[float], at_s: float) -> None:
        """Let the way up follow a trace; an empty one gives it the rate it began with."""
        await self._playing.play(mbit_s, at_s)
        if not mbit_s:
            await self._net.up.change(self._spec.up_mbit)

    async def settle(self, quiet_s: float = 0.03, most_s: float = 10.0) -> None:
        """Carry what is on its way at once, until nothing waits and nothing has moved for a while."""
        await self._playing.stop()
        loop = asyncio.get_running_loop()
        shapers = (self._net.up, self._net.down)
        before = [shaper.rate_mbit for shaper in shapers]
        for shaper in shapers:
            await shaper.change(OPEN_MBIT)
        ends, since, seen = loop.time() + most_s, loop.time(), -1
        while loop.time() < min(ends, since + quiet_s):
            traffic = [await shaper.traffic() for shaper in shapers]
            moved = sum(each.sent for each in traffic) + self._delayed.carried_bytes
            if moved != seen or any(each.waiting for each in traffic):
                since, seen = loop.time(), moved
            await asyncio.sleep(_POLL_S)
        await self._delayed.settle(quiet_s)
        for shaper, rate in zip(shapers, before, strict=True):
            await shaper.change(rate)
