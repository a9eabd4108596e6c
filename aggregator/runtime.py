"""An aggregator, running: one connection and one snapshot file around the session.

Cancel the task to stop it: what is merged becomes durable and acknowledged, it says goodbye, and then
raises `CancelledError`; cancelled a second time it does not wait.
"""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import structlog

from aggregator import commands as do
from aggregator import events as ev
from aggregator.changes import Changes
from aggregator.receiving import receive
from aggregator.session import AggregatorSession
from aggregator.settings import AggregatorSettings
from bus.connection import Connection, Delivery, Endpoint, LinkDown, LinkUp
from bus.drain import run_until_drained
from bus.errors import ConfigurationError
from bus.faults import Faults
from bus.mqtt import open_connection
from bus.outbox import Outbox, Outgoing
from bus.presence import Presence
from bus.shell import Shell
from bus.snapshot import read_snapshot, write_snapshot
from bus.state_folder import open_state_folder
from bus.topics import ACK, GROUPS, METRICS, STATE, STATS, WORDS, Role, Topics
from bus.wire import encode

Connect = Callable[[Endpoint], contextlib.AbstractAsyncContextManager[Connection]]
OnEvent = Callable[[ev.Event], None]

SNAPSHOT = "groups"
UPLOADS_QUEUED = 64  # also how many the broker may send before the first is handled (ReceiveMaximum)
ACKS_QUEUED = 4096
ACK_WRITERS = 8  # each waits for the broker's PUBACK; acknowledgements of different devices need no order
GOODBYE_S = 2.0

_log = structlog.get_logger("aggregator")


async def run_aggregator(
    settings: AggregatorSettings, on_event: OnEvent | None = None, *, connect: Connect | None = None
) -> None:
    """Run one aggregator until cancelled.

    Args:
        settings: what it is.
        on_event: told every event before the session is; must not block.
        connect: opens a connection; to the settings' broker when None.

    Raises:
        ConfigurationError: a setting cannot work, the state folder is damaged or in use, the broker
            cannot be reached or refuses, or another client came with the same id.
    """
    if connect is None:
        wait = settings.wait_for_broker
        connect = partial(open_connection, settings.broker, first_connect="wait" if wait else "fail")
    async with open_state_folder(settings.state_dir) as folder:
        snapshot = await asyncio.to_thread(read_snapshot, settings.state_dir / SNAPSHOT)
        session = AggregatorSession(
            settings.grouping,
            origin=secrets.token_hex(8),
            snapshot=snapshot,
            limits=settings.limits,
            periods=settings.periods,
        )
        topics = Topics(settings.prefix)
        presence = Presence(topics, Role.AGGREGATOR, settings.id, folder.boot, settings.version)

        def announce() -> list[tuple[str, bytes]]:
            said = session.announced
            return [
                presence.announce(said.state, detail="; ".join(filter(None, (said.detail, settings.detail))))
            ]

        def farewell() -> list[tuple[str, bytes]]:
            return [presence.announce("disconnected", detail=settings.detail)]

        endpoint = Endpoint(
            presence.client_id(),
            presence.will(),
            announce=announce,
            farewell=farewell,
            subscriptions=((topics.filter(STATS), STATS.qos),),
            queue_limit=UPLOADS_QUEUED,
        )
        async with connect(endpoint) as link:
            aggregator = _Aggregator(settings, session, presence, endpoint, link, on_event)
            await run_until_drained(f"aggregator {settings.id}", aggregator.serve(), aggregator.stop)


class _Aggregator:
    """The tasks of one aggregator."""

    def __init__(
        self,
        settings: AggregatorSettings,
        session: AggregatorSession,
        presence: Presence,
        endpoint: Endpoint,
        link: Connection,
        on_event: OnEvent | None,
    ) -> None:
        self._session = session
        self._file: Path = settings.state_dir / SNAPSHOT
        self._changes = Changes()
        for key in session.ledger:
            # Of what was there before this start no more is known than that the file holds it.
            self._changes.since(key, session.ledger[key].version, self._file.stat().st_mtime)
        self._id = settings.id
        self._presence = presence
        self._topics = presence.topics
        self._endpoint = endpoint
        self._link = link
        self._on_event = on_event
        self._log = _log.bind(aggregator=settings.id)
        self._logged = Faults()
        self._fatal: ConfigurationError | None = None
        self._stopped = asyncio.Event()
        self._tasks: asyncio.TaskGroup
        self._acks = Outbox(link, limit=ACKS_QUEUED, writers=ACK_WRITERS)
        # Every group can have one broadcast a type under way; state and metrics are a handful.
        self._retained = Outbox(link, limit=ACKS_QUEUED)
        self._shell: Shell[ev.Event, do.Command] = Shell(session, self._execute, ev.DeadlinePassed())
        self._groups = len(session.ledger)

    async def serve(self) -> None:
        """Run until the session says `Stop`."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            background = [
                tasks.create_task(self._shell.run_timer(), name="aggregator timer"),
                tasks.create_task(self._acks.run(), name="aggregator acks out"),
                tasks.create_task(self._retained.run(), name="aggregator retained out"),
                tasks.create_task(self._read(), name="aggregator in"),
            ]
            self._log.info("ready", groups=self._groups)
            await self._stopped.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_S):
                    await self._acks.drained()
                    await self._retained.drained()
            for task in background:
                task.cancel()
        self._log.info("stopped")
        if self._fatal is not None:
            raise self._fatal

    def stop(self) -> None:
        """Ask it to drain."""
        self._log.info("draining")
        self._post(ev.StopRequested())

    def _post(self, event: ev.Event) -> None:
        if self._on_event is not None:
            self._on_event(event)
        self._shell.post(event)

    async def _read(self) -> None:
        async for event in self._link.events():
            match event:
                case Delivery():
                    self._on_delivery(event)
                case LinkUp(protocol):
                    self._log.info("connected", mqtt=protocol)
                    self._post(ev.LinkUp())
                case LinkDown(reason, taken_over):
                    self._log.warning("link lost", reason=reason)
                    self._post(ev.LinkDown())
                    if taken_over:
                        self._end_taken_over()

    def _end_taken_over(self) -> None:
        """Two clients with one id would throw each other out for ever."""
        self._fatal = ConfigurationError(
            f"another client connected as {self._id!r}: give every aggregator its own --id"
        )
        self._post(ev.StopRequested())

    def _on_delivery(self, delivery: Delivery) -> None:
        address = self._topics.parse(delivery.topic)
        if address is not None and address.topic is STATS:
            event = receive(address.fields["device"], address.fields["type"], delivery.payload)
            if isinstance(event, ev.UploadBroken):
                now = asyncio.get_running_loop().time()
                if self._logged.worth_logging(event.fault, now):
                    self._log.warning(
                        "bad upload", device=event.device, fault=event.fault, detail=event.detail
                    )
            self._post(event)
        # The device repeats until the session acknowledges, so the broker need not keep it longer.
        delivery.ack()

    def _execute(self, command: do.Command) -> None:
        """Carry out one command without blocking."""
        match command:
            case do.SaveSnapshot(payload):
                self._tasks.create_task(self._save(payload), name="aggregator snapshot")
            case do.PublishAck(device, type_, message):
                topic = self._topics.of(ACK, type=type_, device=device)
                self._acks.put(Outgoing(topic, encode(ACK, message), qos=ACK.qos))
            case do.PublishGroup():
                self._broadcast(command)
            case do.ReportVerdict(key, device, parked, sentence):
                self._log.warning(
                    "parked" if parked else "back", group=key.group, device=device, why=sentence
                )
            case do.AnnounceState(state, detail):
                self._log.info("state", state=state, detail=detail)
                for topic, text in self._endpoint.announce():
                    self._retained.put(Outgoing(topic, text, qos=STATE.qos, retain=STATE.retained))
            case do.PublishMetrics(values):
                topic, text = self._presence.metrics({**values, **self._own_metrics()})
                self._retained.put(Outgoing(topic, text, qos=METRICS.qos))
            case do.Stop():
                self._stopped.set()

    async def _save(self, payload: bytes) -> None:
        """Write one snapshot; success and failure come back as one event."""
        try:
            await write_snapshot(self._file, payload)
        except OSError as error:
            reason = error.strerror or os.strerror(error.errno or 0)
            self._log.error("cannot save", file=str(self._file), why=reason)
            self._post(ev.SnapshotFailed(reason))
        else:
            self._post(ev.SnapshotSaved())

    def _broadcast(self, command: do.PublishGroup) -> None:
        """Publish to every type of the group, sums and words; it has ended when the last of them has."""
        parameters = command.parameters
        now_s = datetime.now(UTC).timestamp()
        changed = self._changes.since(command.key, parameters.version, now_s)
        words = encode(WORDS, self._session.words(command.key, parameters, changed))
        payloads = ((GROUPS, encode(GROUPS, parameters)), (WORDS, words))
        left = [len(payloads) * len(command.types), True]

        def ended(succeeded: bool) -> None:  # noqa: FBT001 - the outbox's callback
            left[0] -= 1
            left[1] = bool(left[1]) and succeeded
            if left[0] <= 0:
                self._post(ev.BroadcastEnded(command.key, succeeded=bool(left[1])))

        if not command.types:
            ended(True)
        for type_ in command.types:
            for row, payload in payloads:
                topic = self._topics.of(row, type=type_, model=parameters.model)
                self._retained.put(Outgoing(topic, payload, row.qos, row.retained, ended=ended))

    def _own_metrics(self) -> dict[str, float]:
        """What the session cannot know."""
        return {
            "deliveries_dropped": self._link.dropped,
            "acks_dropped": self._acks.dropped,
            "publishes_failed": self._acks.failed + self._retained.failed,
        }
