"""A device, running: connections, worker threads, frame source and state file around the session.

Two connections, because a large activation holds up whatever shares its byte stream: `control` (state,
feedback, statistics) and `data` (requests, replies). Cancel the task to stop it: the frame in play is
answered, what was learnt is handed in, it says goodbye, and then raises `CancelledError`; cancelled a
second time it does not wait. When the name of its model comes to stand for another one, a session ends
between two frames and the next one begins, with its own connections and learner and the same frame source.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random

import structlog

from bandits.policy import Policy
from bus.connection import Connection, Endpoint
from bus.drain import run_until_drained
from bus.errors import LinkLost
from bus.mqtt import open_connection
from bus.presence import Presence
from bus.state_folder import open_state_folder
from bus.topics import ACK, GROUPS, QUEUE, REPLY, STATE, Role, Topics
from device.ban_reasons import reasons
from device.bans import ALONE, BanningCompute, grouped
from device.compute import Compute, load_compute
from device.events import ExitRow
from device.executor import Executor, Observers, OnCommand, OnEvent
from device.frames import FrameSource, open_source
from device.known import Known, read_known
from device.model_watch import next_compute
from device.plan import Plan
from device.policies import build_policy, require_names
from device.preparation import profile_heads, time_exits
from device.session import DeviceSession
from device.settings import DeviceSettings, DeviceSummary
from device.storage import open_state, state_path
from device.summaries import joined
from device.voice import Voice, summarise

Connect = Callable[[Endpoint], contextlib.AbstractAsyncContextManager[Connection]]

DELIVERIES_QUEUED = 64

_log = structlog.get_logger("device")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a device may be given instead of making it from its settings, as an experiment does.

    Attributes:
        source: where its frames come from.
        known: what profiles would tell.
        policies: makes those that play from the plan and the boot number, the main one first.
    """

    source: FrameSource | None = None
    known: Known | None = None
    policies: Callable[[Plan, int], tuple[Policy, ...]] | None = None


_OWN_PARTS = Parts()


async def run_device(
    settings: DeviceSettings,
    *,
    compute: Compute | None = None,
    parts: Parts = _OWN_PARTS,
    on_event: OnEvent | None = None,
    on_command: OnCommand | None = None,
    on_end: Callable[[DeviceSummary], None] | None = None,
    connect: Connect | None = None,
) -> DeviceSummary:
    """Run one device to the end of its frames, or until cancelled.

    Args:
        settings: what it is.
        compute: its computing; loaded from the settings when None.
        parts: what it is given instead of making it from its settings.
        on_event: told every event before the session is; must not block.
        on_command: told every command before it is carried out; must not block.
        on_end: told the summary at the end, also when cancelled; not when it failed.
        connect: opens a connection; to the settings' broker when None.

    Raises:
        ConfigurationError: a setting cannot work, the broker cannot be reached or refuses, the source
            cannot be read, or another client came with the same id.
    """
    own = connect is None
    if connect is None:
        wait = settings.wait_for_broker
        connect = partial(open_connection, settings.broker, first_connect="wait" if wait else "fail")
    async with open_state_folder(settings.state_dir) as folder, _threads() as threads:
        runs = _Runs(settings, folder.boot, threads, connect, parts, Observers(on_event, on_command))
        try:
            while (compute := await runs.play(compute)) is not None:
                # The broker was there; that it is away at this very moment is no reason to end.
                if own:
                    runs.connect = partial(open_connection, settings.broker, first_connect="wait")
        except asyncio.CancelledError:
            if runs.summary is not None and on_end is not None:
                on_end(runs.summary)
            raise
        finally:
            runs.close()
        # Not in the `finally`: what goes wrong in a summary would hide why the device failed.
        assert runs.summary is not None
        if on_end is not None:
            on_end(runs.summary)
        return runs.summary


class _Runs:
    """One session after another, each with a model of its own, over one frame source.

    Attributes:
        summary: what all of them have come to; None before the first has begun.
        connect: opens a connection.
    """

    def __init__(
        self,
        settings: DeviceSettings,
        boot: int,
        threads: tuple[ThreadPoolExecutor, ThreadPoolExecutor],
        connect: Connect,
        parts: Parts,
        observers: Observers,
    ) -> None:
        self.summary: DeviceSummary | None = None
        self.connect = connect
        self._settings = settings
        self._boot = boot
        self._threads = threads
        self._parts = parts
        self._observers = observers
        self._source: FrameSource | None = parts.source
        self._next: Compute | None = None

    async def play(self, compute: Compute | None) -> Compute | None:
        """Run one session to its end; return what the next one is to play, or None if that was the last.

        Args:
            compute: loaded from the settings when None.

        Raises:
            ConfigurationError: as `run_device`.
        """
        settings, threads = self._settings, self._threads
        topics = Topics(settings.prefix)
        presence = Presence(
            topics, Role.DEVICE, settings.id, self._boot, settings.version, type=settings.type
        )
        voice = Voice(presence, settings)
        # The broker's refusals come before the seconds that loading takes.
        async with self.connect(_control(settings, topics, voice)) as control:
            loop = asyncio.get_running_loop()
            if compute is None:
                compute = await loop.run_in_executor(threads[0], load_compute, settings)
            compute = _with_bans(settings, compute, control.packet_limit_bytes)
            groups = topics.filter(GROUPS, type=settings.type, model=compute.plan.model)
            with contextlib.suppress(LinkLost):  # renewed at the next connect all the same
                await control.subscribe(groups, qos=GROUPS.qos)
            session, path, rows = await _prepare(settings, compute, self._parts, threads[0])
            voice.model, voice.arms = compute.plan.model, compute.plan.asks
            labels = (compute.label, "emulated" if compute.emulated else "", settings.detail)
            voice.detail = "; ".join(filter(None, labels))
            if self._source is None:
                # Opened last: whatever was wrong with the rest has been said by now.
                self._source = await loop.run_in_executor(threads[1], _open, settings, compute)
            async with self.connect(_data(settings, topics, voice)) as data:
                executor = Executor(
                    settings,
                    session,
                    compute,
                    self._source,
                    threads,
                    voice,
                    path,
                    control,
                    data,
                    self._observers,
                    rows,
                )
                try:
                    async with self._watching(executor, compute):
                        await run_until_drained(f"device {settings.id}", executor.serve(), executor.stop)
                except asyncio.CancelledError:
                    self._end(session, compute)
                    raise
                self._end(session, compute)
        return self._next if session.handed_over else None

    def close(self) -> None:
        """Close the frame source."""
        if self._source is not None:
            self._source.close()

    @contextlib.asynccontextmanager
    async def _watching(self, executor: Executor, compute: Compute) -> AsyncIterator[None]:
        """Hand over as soon as the model's name stands for another model."""
        self._next = None
        if self._settings.models_dir is None or compute.emulated:
            yield
            return

        async def watch() -> None:
            self._next = await next_compute(self._settings, compute)
            executor.hand_over()

        watching = asyncio.create_task(watch(), name=f"device {self._settings.id} model folder")
        try:
            yield
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching

    def _end(self, session: DeviceSession, compute: Compute) -> None:
        """Add what a session came to; the next one may capture what is left of the frames."""
        # Not the settings' policy: an experiment gives a device policies with names of its own.
        main = next(iter(session.turns.tallies))
        summary = summarise(session, main, compute.label, compute.plan.banned)
        self.summary = summary if self.summary is None else joined(self.summary, summary)
        if self._settings.frames is not None and session.handed_over:
            self._settings = replace(self._settings, frames=self._settings.frames - session.turns.captured)
        if session.handed_over:
            # A profile is of one model.
            self._settings = replace(self._settings, profile=None)


def _control(settings: DeviceSettings, topics: Topics, voice: Voice) -> Endpoint:
    """Who the control connection is."""
    acks = topics.of(ACK, type=settings.type, device=settings.id)
    edges = topics.filter(STATE, role=Role.EDGE.value)
    return Endpoint(
        voice.presence.client_id(),
        voice.presence.will(),
        announce=voice.announce,
        farewell=voice.farewell,
        subscriptions=((acks, ACK.qos), (edges, STATE.qos), (topics.filter(QUEUE), QUEUE.qos)),
        queue_limit=DELIVERIES_QUEUED,
    )


def _data(settings: DeviceSettings, topics: Topics, voice: Voice) -> Endpoint:
    """Who the data connection is."""
    replies = topics.of(REPLY, device=settings.id)
    return Endpoint(
        voice.presence.client_id("data"),
        subscriptions=((replies, REPLY.qos),),
        queue_limit=DELIVERIES_QUEUED,
    )


@contextlib.asynccontextmanager
async def _threads() -> AsyncIterator[tuple[ThreadPoolExecutor, ThreadPoolExecutor]]:
    """One thread for torch, one for the frame source: a camera that blocks must not hold a head up."""
    compute = ThreadPoolExecutor(1, thread_name_prefix="compute")
    source = ThreadPoolExecutor(1, thread_name_prefix="source")
    try:
        yield compute, source
    finally:
        compute.shutdown(wait=False, cancel_futures=True)
        source.shutdown(wait=False, cancel_futures=True)


def _open(settings: DeviceSettings, compute: Compute) -> FrameSource:
    return open_source(
        settings.source, compute.input_size, seed=settings.seed, cycle=settings.frames is not None
    )


def _with_bans(settings: DeviceSettings, compute: Compute, packet_limit_bytes: int) -> Compute:
    """Return the computing without the arms that this device must not play, and say which and why."""
    bans = reasons(
        compute.plan,
        labels=settings.ban,
        min_agreement=settings.min_agreement,
        packet_limit_bytes=packet_limit_bytes,
    )
    if not bans:
        return compute
    banning = BanningCompute(compute, bans)
    for reason, labels in grouped(banning.plan.banned).items():
        _log.warning("arms_banned", device=settings.id, arms=", ".join(labels), reason=reason)
    if len(banning.plan.arms) == 1:
        _log.warning("works_alone", device=settings.id, reason=ALONE)
    return banning


async def _prepare(
    settings: DeviceSettings, compute: Compute, parts: Parts, thread: ThreadPoolExecutor
) -> tuple[DeviceSession, Path | None, tuple[ExitRow, ...]]:
    """Return the session with whatever it had learnt, where it keeps it, and rows for its warm start."""
    plan = compute.plan
    if settings.learner.link == "measured":
        plan = plan.with_measured_link()
    path = None
    if settings.state_dir is not None:
        path = state_path(settings.state_dir, settings.id, settings.type, plan)
    identity, restored = await asyncio.to_thread(
        open_state, path, settings.id, settings.type, emulated=compute.emulated
    )
    loop = asyncio.get_running_loop()
    known = parts.known
    if known is None:
        known = await asyncio.to_thread(read_known, settings, compute)
    if parts.policies is not None:
        policies = parts.policies(plan, identity.boot)
    else:
        names = require_names(settings.policy, settings.compare)
        front_s = known.front_s
        if "ans" in names and not front_s:
            front_s = await loop.run_in_executor(thread, profile_heads, compute, settings.seed)
        policies = tuple(
            build_policy(
                name, plan, settings.learner, boot=identity.boot, front_s=front_s, edge_s=known.edge_s
            )
            for name in names
        )
    limits = settings.limits
    if len(plan.arms) == 1:
        limits = replace(limits, wait_edge_s=0.0)  # it will ask nobody
    exit_s = await loop.run_in_executor(thread, time_exits, compute, settings.seed)
    session = DeviceSession(
        identity,
        plan,
        policies,
        draw=Random(f"{settings.seed} {settings.id}").random,  # noqa: S311 - spreads load, keeps no secret
        limits=limits,
        frames=settings.frames,
        warm_start=settings.warm_start,
        restored=restored,
        exit_s=exit_s,
    )
    _log.info("prepared", device=settings.id, network=compute.label, arms=len(plan.arms), boot=identity.boot)
    return session, path, known.rows
