"""A testbed's device: carries out a coordinator's orders until it is told to leave.

One process, one network, one set of times; a player for each policy of the experiment, all of them there at
once, one playing at a time. What the coordinator says comes over the bus, so nothing else must reach it.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import structlog

from bus.address import BrokerAddress
from bus.connection import Connection, Delivery, Endpoint
from bus.errors import ConfigurationError, LinkError, RemoteProtocolError
from bus.mqtt import open_connection
from bus.topics import Topics
from device.compute import Compute
from device.known import Known, read_known
from device.preparation import profile_heads, run_warm_start
from device.settings import DeviceSettings
from lab.emulation import StretchedCompute
from lab.simulator import spec
from lab.testbed.orders import (
    ORDER,
    REPORT,
    Failed,
    Join,
    Joined,
    Leave,
    Left,
    Order,
    Play,
    Played,
    Report,
    read_order,
)
from lab.testbed.player import PlayerDevice
from lab.testbed.together import together

_LOG = structlog.get_logger("testbed")


async def run_lab_device(settings: DeviceSettings, compute: Compute, orders: BrokerAddress) -> None:
    """Obey until `Leave` comes, or until cancelled.

    Args:
        settings: of the device as `cans device` would run it; `id` is what orders are addressed to.
        compute: its computing, loaded.
        orders: where the coordinator is heard; frames go over `settings.broker`, perhaps a slower way.

    Raises:
        ConfigurationError: the broker cannot be reached or refuses.
    """
    topics = Topics(settings.prefix)
    own = (topics.of(ORDER, device=settings.id), ORDER.qos)
    endpoint = Endpoint(f"{topics.prefix}:lab:{settings.id}".replace("/", "."), subscriptions=(own,))
    wait = settings.wait_for_broker
    async with open_connection(orders, endpoint, first_connect="wait" if wait else "fail") as connection:
        device = _LabDevice(settings, compute, connection)
        try:
            await device.serve()
        finally:
            await device.end_players()


class _LabDevice:
    def __init__(self, settings: DeviceSettings, compute: Compute, connection: Connection) -> None:
        self._settings = settings
        self._compute = compute
        self._connection = connection
        self._players: dict[str, PlayerDevice] = {}
        self._last: Report | None = None
        self._known: Known | None = None

    async def serve(self) -> None:
        """Carry out one order after the other; an old one again is answered as before."""
        _LOG.info("waits_for_orders", device=self._settings.id)
        async for event in self._connection.events():
            if not isinstance(event, Delivery):
                continue
            try:
                order = read_order(event.payload)
            except RemoteProtocolError as error:
                _LOG.warning("no_order", reason=str(error))
                event.ack()
                continue
            event.ack()
            if self._last is not None and order.number < self._last.number:
                continue  # overtaken
            if self._last is None or order.number > self._last.number:
                self._last = await self._carry_out(order)
            await self._report(self._last)
            if isinstance(order, Leave):
                return

    async def _report(self, report: Report) -> None:
        topic = Topics(self._settings.prefix).of(REPORT, device=self._settings.id)
        try:
            await self._connection.publish(topic, msgspec.json.encode(report), qos=REPORT.qos)
        except LinkError as error:
            _LOG.warning("report_not_sent", reason=str(error))  # the order comes again

    async def _carry_out(self, order: Order) -> Report:
        try:
            match order:
                case Join():
                    return await self._join(order)
                case Play():
                    return await self._play(order)
                case Leave():
                    await self.end_players()
                    return Left(number=order.number)
        except ConfigurationError as error:
            return Failed(number=order.number, why=str(error)[:2000])

    async def _join(self, order: Join) -> Joined:
        await self.end_players()
        rows = max(
            (each.learner.warm_start for each in order.players if isinstance(each.learner, spec.Family)),
            default=0,
        )
        if self._known is None:
            self._known = await asyncio.to_thread(self._know, order)
        known = self._known
        if rows:
            found = await asyncio.to_thread(run_warm_start, self._compute, rows, order.seed)
            known = replace(known, rows=found)
        for each in order.players:
            player = PlayerDevice(each, order, self._settings, self._compute, known)
            self._players[each.policy] = player
            player.start()
        await together(player.ready() for player in self._players.values())
        plan = self._compute.plan
        return Joined(
            number=order.number,
            label=self._compute.label,
            model=plan.model,
            arms=tuple(plan.label(arm) for arm in range(len(plan.arms))),
            versions={"cans": self._settings.version},
        )

    def _know(self, order: Join) -> Known:
        """Return what rivals are given: an emulated device's profile is stretched as its computing is.

        A real one without a profile of itself measures its heads, once, where somebody asks for them.
        """
        if isinstance(self._compute, StretchedCompute):
            return Known(self._compute.front_s, self._compute.edge_s)
        known = replace(read_known(self._settings, self._compute), rows=())
        asked = any(isinstance(each.learner, spec.Ans | spec.Neurosurgeon) for each in order.players)
        if known.front_s or not asked:
            return known
        return replace(known, front_s=profile_heads(self._compute, order.seed))

    async def _play(self, order: Play) -> Played:
        player = self._players.get(order.policy)
        if player is None:
            raise ConfigurationError(f"nobody plays {order.policy!r} here: join first")
        cpu_s = time.process_time()
        rows, lost = await player.play(order)
        messages, size = player.take_traffic()
        return Played(
            number=order.number,
            policy=order.policy,
            rows=rows,
            lost=lost,
            cpu_s=time.process_time() - cpu_s,
            messages=messages,
            bytes=size,
        )

    async def end_players(self) -> None:
        """Let all players go, at once: each hands in what it knows."""
        players: Sequence[PlayerDevice] = tuple(self._players.values())
        self._players = {}
        await together(player.leave() for player in players)
