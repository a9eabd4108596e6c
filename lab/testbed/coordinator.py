"""Plays a plan block by block: who plays when, on which frames, over which moment of each link.

Before each block the links are emptied and set to the block's moment of their traces, and the machine is
probed; a block beside which it was slower than usual is played again. What comes out is written after each
repetition, so an interrupted run goes on with the next one.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from bus.connection import Connection, Delivery, Endpoint
from bus.errors import CansError, LinkError, RemoteProtocolError
from bus.topics import Topics
from lab.simulator import spec
from lab.testbed.allegiance import KEEP_S
from lab.testbed.orders import (
    ORDER,
    REPORT,
    Busy,
    Enlist,
    Failed,
    Joined,
    Keep,
    Leave,
    Left,
    Order,
    Play,
    Played,
    Present,
    Report,
    new_mark,
    read_report,
    whole,
)
from lab.testbed.plan import Block, Plan
from lab.testbed.probe import Drift, probe_ms
from lab.testbed.samples import Sample
from lab.testbed.together import together

R = TypeVar("R", bound=Report)

_SEND_AGAIN_S = 5.0
_JOIN_S = 300.0  # a warm start of every site at once, on a machine that has other things to do
# Beside what frames may take: messages, and the last feedback.
_MORE_S = 30.0
_LEAVE_S = 15.0


class TestbedError(CansError):
    """A device does not do what it is asked, and what to do."""

    __test__ = False  # no test, for pytest


class Unanswered(TestbedError):  # noqa: N818 - says what happened
    """A device said nothing."""


class DeviceBusy(TestbedError):  # noqa: N818 - as above
    """A device plays for another coordinator."""


class Links(Protocol):
    """The shaped links of all devices."""

    async def settle(self, devices: Sequence[str]) -> None:
        """Carry what is on its way on these devices' links, until nothing moves."""
        ...

    async def play(self, device: str, mbit_s: Sequence[float], at_s: float) -> None:
        """Let a device's uplink follow a trace from a moment of it on."""
        ...

    async def hold(self, device: str, *, on: bool) -> None:
        """Let a device's link carry nothing, either way, or go on where it stopped."""
        ...


class Events(Protocol):
    """Whoever can break a site, and mend it."""

    async def happen(self, event: spec.Event, devices: Sequence[str]) -> None:
        """Let it happen to these devices, from now until it is mended."""
        ...


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What one device did in one block, once.

    Attributes:
        round, place, policy, first, at_s: as `Block`.
        device, type: whose.
        attempt: 0, or more where it was played again; `counts` is the last attempt's alone.
        slower: how much slower the machine was than usual beside it, as a share; the greater of two probes,
            and of the devices' own where those are machines of their own.
    """

    round: int
    place: int
    policy: str
    first: int
    at_s: float
    device: str
    type: str
    attempt: int
    counts: bool
    slower: float
    played: Played


class Repetition(msgspec.Struct, frozen=True, kw_only=True):
    """All turns of one seed, and what the devices said of themselves.

    Attributes:
        samples: what the site's processes held after each block, where the experiment asks for it.
    """

    seed: int
    joined: dict[str, Joined]
    turns: list[Turn]
    took_s: float
    samples: list[Sample] = msgspec.field(default_factory=list)


Tell = Callable[[Block, Sequence[Turn]], None]
"""Told of each block that has been played, with its turns."""


@dataclass(slots=True)
class Coordinator:
    """Who tells devices what to play.

    Attributes:
        plan: what.
        connection: to the broker, not through anybody's link.
        topics: of the site.
        links: of the devices.
        tell: told after each block, with its turns.
        mark: tells its orders from those of all other coordinators.
        edge_s: seconds of each arm on the edge worker, for devices that have no profile of it.
        probes_devices: they are machines of their own, which may be slow while this one is not.
        events: what the plan breaks is broken by; None where nothing can be.
        has_left: its devices are no longer its own.
    """

    plan: Plan
    connection: Connection
    topics: Topics
    links: Links
    tell: Tell
    mark: str = field(default_factory=new_mark)
    edge_s: tuple[float, ...] = ()
    probes_devices: bool = False
    events: Events | None = None
    has_left: bool = False
    _drifts: dict[str, Drift] = field(default_factory=dict)
    _number: int = 0
    _phases_s: list[float] = field(default_factory=list)
    _waiting: dict[tuple[str, int], "asyncio.Future[Report]"] = field(default_factory=dict)

    async def repetition(self, seed: int) -> Repetition:
        """Play one seed from the beginning.

        Raises:
            TestbedError: a device failed, or does not answer.
        """
        began = time.monotonic()
        plan, drift = self.plan, Drift(self.plan.testbed.probe_drift)
        self._drifts = {device.name: Drift(plan.testbed.probe_drift) for device in plan.devices}
        traces = plan.traces(seed)
        self._phases_s = plan.phases_s(seed)
        joined: dict[str, Joined] = {}
        turns: list[Turn] = []
        there: list[int] = []
        for block in plan.blocks(seed):
            new = [
                number
                for number, device in enumerate(plan.devices)
                if number not in there and device.joins_round <= block.round
            ]
            if new:
                joined |= await self._join(seed, new)
                there += new
            played = await self._until_undisturbed(block, there, traces, drift)
            turns += played
            self.tell(block, played)
        return Repetition(seed=seed, joined=joined, turns=turns, took_s=time.monotonic() - began)

    async def enlist(self, device: str, most_s: float) -> Present:
        """Ask a device what it is; from then on it plays for nobody else, as long as it hears `keep`.

        Raises:
            Unanswered: it is not there.
            DeviceBusy: it plays for somebody else.
            TestbedError: it cannot play.
        """
        return await self._ask_one(device, Enlist(number=self._next()), Present, most_s)

    async def keep(self) -> None:
        """Let the devices hear, for ever, that their coordinator is there."""
        order = msgspec.json.encode(Keep(number=0, mark=self.mark))
        while True:
            await asyncio.sleep(KEEP_S)
            for device in self.plan.devices:
                with suppress(LinkError):  # it is connecting again
                    await self.connection.publish(self.topics.of(ORDER, device=device.name), order)

    async def leave(self, *, stay: bool = False) -> None:
        """Let all devices end; or let them go to the next coordinator, where they are to stay."""
        number = self._next()
        orders = {device.name: Leave(number=number, stay=stay) for device in self.plan.devices}
        await self._ask(orders, Left, _LEAVE_S)
        self.has_left = True

    async def _join(self, seed: int, devices: Sequence[int]) -> dict[str, Joined]:
        number = self._next()
        orders = {
            self.plan.devices[device].name: msgspec.structs.replace(
                self.plan.join_of(seed, device, number), edge_s=self.edge_s
            )
            for device in devices
        }
        return await self._ask(orders, Joined, _JOIN_S)

    async def _until_undisturbed(
        self, block: Block, there: Sequence[int], traces: Sequence[Sequence[float]], drift: Drift
    ) -> list[Turn]:
        turns: list[Turn] = []
        for attempt in range(self.plan.testbed.repeats + 1):
            before = drift.slower(await asyncio.to_thread(probe_ms))
            played = await self._play(block, there, traces)
            after = drift.slower(await asyncio.to_thread(probe_ms))
            slower = max(before, after, *self._slower_devices(played))
            again = drift.too_much(slower) and attempt < self.plan.testbed.repeats
            turns += [
                self._turn(block, number, attempt, slower, played, counts=not again) for number in there
            ]
            if not again:
                break
        return turns

    def _slower_devices(self, played: Mapping[str, Played]) -> list[float]:
        return [
            self._drifts[device].slower(each.probe_ms)
            for device, each in played.items()
            if each.probe_ms is not None
        ]

    def _turn(
        self,
        block: Block,
        number: int,
        attempt: int,
        slower: float,
        played: Mapping[str, Played],
        *,
        counts: bool,
    ) -> Turn:
        device = self.plan.devices[number]
        return Turn(
            round=block.round,
            place=block.place,
            policy=block.policy,
            first=block.first,
            at_s=block.at_s,
            device=device.name,
            type=device.kind.name,
            attempt=attempt,
            counts=counts,
            slower=slower,
            played=played[device.name],
        )

    async def _play(
        self, block: Block, there: Sequence[int], traces: Sequence[Sequence[float]]
    ) -> dict[str, Played]:
        names = [self.plan.devices[number].name for number in there]
        playing = together(self._play_on(block, number, traces[number]) for number in there)
        happening = [self._happen(event, names) for event in self.plan.events_in(block.round)]
        played, *_ = await together([playing, *happening])
        return dict(zip(names, played, strict=True))

    async def _play_on(self, block: Block, number: int, trace: Sequence[float]) -> Played:
        """Play a block on one device, every frame at its own moment of the link.

        A frame that took longer than its period must not let the device skip the next ones' moments, or who
        waits longest would meet the fewest bad ones: so the link is emptied and set back behind it.
        """
        device, testbed, fps = self.plan.devices[number], self.plan.testbed, self.plan.fps_of(number)
        done, parts = 0, list[Played]()
        while done < testbed.block_frames:
            await self.links.settle([device.name])
            await self.links.play(device.name, trace, block.at_s + done / fps)
            order = Play(
                number=self._next(),
                policy=block.policy,
                first=block.first + done,
                frames=testbed.block_frames - done,
                after_s=self._phases_s[number],
                probe=self.probes_devices,
                # What breaks does so at moments of the whole block.
                stop_when_late=not self.plan.events_in(block.round),
            )
            most_s = (order.frames + 1) * (1.0 / fps + 2.0 * self.plan.world.deadline_ms / 1e3) + _MORE_S
            parts.append(await self._ask_one(device.name, order, Played, most_s))
            done += max(1, parts[-1].frames)
        return whole(parts)

    async def _happen(self, event: spec.Event, devices: Sequence[str]) -> list[Played]:
        """Let an event happen when its time has come; nobody reports of it."""
        await asyncio.sleep(event.at_s)
        assert self.events is not None
        await self.events.happen(event, devices)
        return []

    def _next(self) -> int:
        self._number += 1
        return self._number

    async def _ask(self, orders: Mapping[str, Order], kind: type[R], most_s: float) -> dict[str, R]:
        """Send each device its order until it reports; return the reports."""
        reports = await together(self._ask_one(*each, kind, most_s) for each in orders.items())
        return dict(zip(orders, reports, strict=True))

    async def _ask_one(self, device: str, order: Order, kind: type[R], most_s: float) -> R:
        future: asyncio.Future[Report] = asyncio.get_running_loop().create_future()
        self._waiting[device, order.number] = future
        topic = self.topics.of(ORDER, device=device)
        payload = msgspec.json.encode(msgspec.structs.replace(order, mark=self.mark))
        try:
            async with asyncio.timeout(most_s):
                while not future.done():
                    try:
                        await self.connection.publish(topic, payload, qos=ORDER.qos)
                    except LinkError:
                        await asyncio.sleep(1.0)  # it is connecting again
                        continue
                    await asyncio.wait({future}, timeout=_SEND_AGAIN_S)
        except TimeoutError:
            raise Unanswered(
                f"the device {device} has not answered for {most_s:.0f} s: is it running (cans device --lab "
                f"--id {device}), and does it reach this broker under the prefix {self.topics.prefix}?"
            ) from None
        finally:
            del self._waiting[device, order.number]
        report = future.result()
        if isinstance(report, Failed):
            raise TestbedError(f"the device {device} cannot: {report.why}")
        if isinstance(report, Busy):
            raise DeviceBusy(
                f"the device {device} plays for another coordinator, heard {report.silent_s:.0f} s ago: wait "
                "until that one has ended, or end it"
            )
        if not isinstance(report, kind):
            raise TestbedError(f"the device {device} answered {type(report).__name__} to {order}")
        return report

    async def listen(self) -> None:
        """Hand reports to whoever waits for them; for as long as the connection lasts."""
        async for event in self.connection.events():
            if not isinstance(event, Delivery):
                continue
            try:
                report = read_report(event.payload)
            except RemoteProtocolError:
                event.ack()
                continue
            event.ack()
            if report.mark != self.mark:
                continue  # to somebody else, who may be gone
            device = event.topic.rpartition("/")[2]
            future = self._waiting.get((device, report.number))
            if future is not None and not future.done():
                future.set_result(report)


@asynccontextmanager
async def listening(coordinator: Coordinator) -> AsyncIterator[None]:
    """Let a coordinator hear its devices for as long as the block."""
    task = asyncio.create_task(coordinator.listen(), name="coordinator ear")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def endpoint_of(topics: Topics, mark: str) -> Endpoint:
    """Return who a coordinator is on the bus: no second one pushes it off, its devices refuse that one."""
    reports = (topics.filter(REPORT), REPORT.qos)
    name = f"{topics.prefix}:lab:coordinator:{mark}".replace("/", ".")
    return Endpoint(name, subscriptions=(reports,), queue_limit=1024)


def path_of(out: Path, seed: int) -> Path:
    """Return where a repetition is kept."""
    return out / "rounds" / f"seed-{seed:06d}.json"


def write(repetition: Repetition, out: Path) -> None:
    """Keep a repetition, whole or not at all."""
    path = path_of(out, repetition.seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(msgspec.json.encode(repetition))
    unfinished.replace(path)


def read(path: Path) -> Repetition:
    """Return a repetition that was kept."""
    return msgspec.json.decode(path.read_bytes(), type=Repetition)
