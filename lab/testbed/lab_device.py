"""A testbed's device: carries out a coordinator's orders until it is told to leave.

One process, one network, one set of times; a player for each policy of the experiment, all of them there at
once, one playing at a time. What the coordinator says comes over the bus, so nothing else must reach it. One
coordinator may follow another (`allegiance.py`); orders are heard while one is being carried out.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import structlog

from bus.address import BrokerAddress
from bus.connection import Connection, ConnectionEvent, Delivery, Endpoint, LinkDown
from bus.errors import ConfigurationError, LinkError, RemoteProtocolError
from bus.mqtt import open_connection
from bus.topics import Topics
from device.compute import Compute
from device.known import Known, read_known
from device.preparation import profile_heads, run_warm_start
from device.settings import DeviceSettings
from lab.emulation import StretchedCompute
from lab.simulator import spec
from lab.testbed.allegiance import Allegiance, Heard
from lab.testbed.orders import (
    ORDER,
    REPORT,
    Busy,
    Enlist,
    Failed,
    Join,
    Joined,
    Keep,
    Leave,
    Left,
    Order,
    Play,
    Played,
    Present,
    Report,
    read_order,
)
from lab.testbed.player import PlayerDevice
from lab.testbed.probe import probe_ms
from lab.testbed.together import together
from partition.profiles.machine import this_machine

_LOG = structlog.get_logger("testbed")


async def run_lab_device(settings: DeviceSettings, compute: Compute, orders: BrokerAddress) -> None:
    """Obey until a `Leave` without `stay` comes, or until cancelled.

    Args:
        settings: of the device as `cans device` would run it; `id` is what orders are addressed to.
        compute: its computing, loaded.
        orders: where the coordinator is heard; frames go over `settings.broker`, perhaps a slower way.

    Raises:
        ConfigurationError: the broker cannot be reached or refuses, or has a device of this id already.
    """
    topics = Topics(settings.prefix)
    own = (topics.of(ORDER, device=settings.id), ORDER.qos)
    endpoint = Endpoint(f"{topics.prefix}:lab:{settings.id}".replace("/", "."), subscriptions=(own,))
    wait = settings.wait_for_broker
    async with open_connection(orders, endpoint, first_connect="wait" if wait else "fail") as connection:
        device = LabDevice(settings, compute, connection)
        try:
            await device.serve()
        finally:
            await device.end_players()


class LabDevice:
    """What a device does with what it hears.

    Args:
        settings, compute: as `run_lab_device`.
        connection: hears the device's orders.
    """

    def __init__(self, settings: DeviceSettings, compute: Compute, connection: Connection) -> None:
        self._settings = settings
        self._compute = compute
        self._connection = connection
        self._players: dict[str, PlayerDevice] = {}
        self._allegiance = Allegiance()
        self._doing: asyncio.Task[None] | None = None
        self._last: Report | None = None
        self._known: Known | None = None

    async def serve(self) -> None:
        """Carry out one order after the other; the same one again is answered as before."""
        _LOG.info("waits_for_orders", device=self._settings.id)
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._obey(tasks)
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _obey(self, tasks: asyncio.TaskGroup) -> None:
        async for event in self._connection.events():
            order = self._order_in(event)
            if order is None:
                continue
            heard = self._allegiance.hear(order, time.monotonic())
            if heard in {Heard.NEW, Heard.CHANGED}:
                await self._make_way(heard)
                if isinstance(order, Leave):
                    await self._do(order)
                    if not order.stay:
                        return
                else:
                    self._doing = tasks.create_task(self._do(order), name=f"order {order.number}")
            elif heard is Heard.BUSY:
                silent_s = time.monotonic() - self._allegiance.heard_s
                await self._report(Busy(number=order.number, silent_s=silent_s), order)
            elif heard is Heard.AGAIN and self._last is not None:  # else its report is still to come
                await self._report(self._last, order)

    def _order_in(self, event: ConnectionEvent) -> Order | None:
        """Return the order that an event brings, if it brings one.

        Raises:
            ConfigurationError: another device of this id is there.
        """
        if isinstance(event, LinkDown) and event.taken_over:
            raise ConfigurationError(
                f"another device of a testbed is called {self._settings.id!r}: end it, or give this one "
                "another --id"
            )
        if not isinstance(event, Delivery):
            return None
        event.ack()
        try:
            return read_order(event.payload)
        except RemoteProtocolError as error:
            _LOG.warning("no_order", reason=str(error))
            return None

    async def _make_way(self, heard: Heard) -> None:
        """Give up what is being carried out: who gave that order wants something else by now, or is gone."""
        self._last = None
        if self._doing is not None:
            self._doing.cancel()
            await asyncio.wait({self._doing})
            self._doing = None
        if heard is Heard.CHANGED:
            _LOG.info("another_coordinator", device=self._settings.id)
            await self.end_players()

    async def _do(self, order: Order) -> None:
        self._last = await self._carry_out(order)
        await self._report(self._last, order)

    async def _report(self, report: Report, order: Order) -> None:
        topic = Topics(self._settings.prefix).of(REPORT, device=self._settings.id)
        marked = msgspec.structs.replace(report, mark=order.mark)
        try:
            await self._connection.publish(topic, msgspec.json.encode(marked), qos=REPORT.qos)
        except LinkError as error:
            _LOG.warning("report_not_sent", reason=str(error))  # the order comes again

    async def _carry_out(self, order: Order) -> Report:
        try:
            match order:
                case Enlist():
                    return await asyncio.to_thread(self._present, order)
                case Join():
                    return await self._join(order)
                case Play():
                    return await self._play(order)
                case Leave():
                    await self.end_players()
                    return Left(number=order.number)
                case Keep():
                    raise AssertionError  # never to be carried out
        except ConfigurationError as error:
            return Failed(number=order.number, why=str(error)[:2000])

    def _present(self, order: Enlist) -> Present:
        """Say what this is, its profile too; blocks."""
        settings, plan, machine = self._settings, self._compute.plan, this_machine()
        profile = ""
        if settings.profile is not None:
            read_known(settings, self._compute)  # of this network and this machine, or it raises
            profile = settings.profile.read_text(encoding="utf-8")
        return Present(
            number=order.number,
            label=self._compute.label,
            model=plan.model,
            arms=tuple(plan.label(arm) for arm in range(len(plan.arms))),
            versions={"cans": settings.version},
            machine=f"{machine.processor}, {machine.cores} cores, {machine.architecture}, {machine.system}",
            emulated=self._compute.emulated,
            profile=profile,
        )

    async def _join(self, order: Join) -> Joined:
        await self.end_players()
        rows = max(
            (each.learner.warm_start for each in order.players if isinstance(each.learner, spec.Family)),
            default=0,
        )
        if self._known is None:
            self._known = await asyncio.to_thread(self._know, order)
        known = _with_edge(self._known, order, len(self._compute.plan.arms))
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
            return Known(self._compute.front_s, order.edge_s or self._compute.edge_s)
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
        cpu_s = time.process_time() - cpu_s
        messages, size = player.take_traffic()
        return Played(
            number=order.number,
            policy=order.policy,
            rows=rows,
            lost=lost,
            cpu_s=cpu_s,
            messages=messages,
            bytes=size,
            probe_ms=await asyncio.to_thread(probe_ms) if order.probe else None,
        )

    async def end_players(self) -> None:
        """Let all players go, at once: each hands in what it knows."""
        players: Sequence[PlayerDevice] = tuple(self._players.values())
        await together(player.leave() for player in players)
        self._players = {}  # not before: whoever is interrupted here must find them again


def _with_edge(known: Known, join: Join, arms: int) -> Known:
    """Return what is known with the coordinator's times of the edge worker, unless a profile has told them.

    Raises:
        ConfigurationError: they are of other arms.
    """
    if known.edge_s or not join.edge_s:
        return known
    if len(join.edge_s) != arms:
        raise ConfigurationError(
            f"the coordinator has times of {len(join.edge_s)} arms on the edge worker, and this device plays "
            f"{arms}: give both the same --model, --codecs and --ban"
        )
    return replace(known, edge_s=join.edge_s)
