"""An edge worker, running: connections, worker threads and signals around the session.

Two connections, because a large activation holds up whatever shares its byte stream: `control` (state,
will, metrics) and `data` (requests, replies). Cancel the task to stop it: it drains, says goodbye, and
then raises `CancelledError`; cancelled a second time it does not wait.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog

from bus.connection import Connection, Delivery, Endpoint, LinkDown, LinkUp, Properties
from bus.drain import run_until_drained
from bus.errors import ConfigurationError, LocalProtocolError
from bus.faults import Faults
from bus.messages import Message
from bus.mqtt import open_connection
from bus.outbox import Outbox, Outgoing
from bus.presence import Presence
from bus.shell import Shell
from bus.state_folder import open_state_folder
from bus.topics import INFER, METRICS, QUEUE, REPLY, STATE, Role, Topics
from bus.wire import encode
from edge import commands as do
from edge import events as ev
from edge.library import Library
from edge.receiving import receive
from edge.session import EdgeSession
from edge.settings import EdgeSettings
from edge.tails import Tails, load_tails
from partition.backends.threads import asked
from partition.models.entries import load as load_entry

Connect = Callable[[Endpoint], contextlib.AbstractAsyncContextManager[Connection]]
OnEvent = Callable[[ev.Event], None]

REQUESTS_QUEUED = 32  # deliveries between the socket and the session; it reads them without waiting
REPLIES_QUEUED = 256
GOODBYE_S = 2.0

_log = structlog.get_logger("edge")


async def run_edge(
    settings: EdgeSettings,
    *,
    compute: Tails | None = None,
    on_event: OnEvent | None = None,
    connect: Connect | None = None,
) -> None:
    """Run one edge worker until cancelled.

    Args:
        settings: what it is.
        compute: its tails; loaded from the settings when None.
        on_event: told every event before the session is; must not block.
        connect: opens a connection; to the settings' broker when None.

    Raises:
        ConfigurationError: a setting cannot work, the broker cannot be reached or refuses, or another
            client came with the same id.
    """
    if connect is None:
        wait = settings.wait_for_broker
        connect = partial(open_connection, settings.broker, first_connect="wait" if wait else "fail")

    async with open_state_folder(settings.state_dir) as folder:
        topics = Topics(settings.prefix)
        presence = Presence(topics, Role.EDGE, settings.id, folder.boot, settings.version)
        voice = _Voice(presence, settings.detail)
        control = Endpoint(
            presence.client_id(),
            presence.will(),
            announce=voice.announce,
            farewell=voice.farewell,
            queue_limit=1,
        )
        data = Endpoint(
            presence.client_id("data"),
            subscriptions=((topics.filter(INFER, edge=settings.id), INFER.qos),),
            queue_limit=REQUESTS_QUEUED,
        )
        async with connect(control) as control_link:
            # The broker's refusals come before the seconds that loading takes; requests only after them.
            tails, library = (compute, None) if compute is not None else await _load(settings)
            async with _worker_threads(settings.workers) as threads:
                await asyncio.get_running_loop().run_in_executor(threads, tails.warm_up)
                async with connect(data) as data_link:
                    edge = _Edge(settings, tails, library, threads, voice, control_link, data_link, on_event)
                    await run_until_drained(f"edge {settings.id}", edge.serve(), edge.stop)


async def _load(settings: EdgeSettings) -> tuple[Tails, Library | None]:
    """Return the tails, those of the folder among them, and who keeps the two in step."""
    tails = await asyncio.to_thread(load_tails, settings)
    if settings.models_dir is None:
        return tails, None
    load = partial(
        load_entry,
        settings.models_dir,
        codecs=settings.codecs,
        threads=asked(settings.threads, settings.backend, settings.workers),
        device=settings.device,
        backend=settings.backend,
    )
    library = Library(settings.models_dir, tails, load)
    while await asyncio.to_thread(library.look):
        pass  # one model a look
    return tails, library


@contextlib.asynccontextmanager
async def _worker_threads(workers: int) -> AsyncIterator[ThreadPoolExecutor]:
    threads = ThreadPoolExecutor(workers, thread_name_prefix="tail")
    try:
        yield threads
    finally:
        # A tail cannot be interrupted; the session has waited for it as long as it may.
        threads.shutdown(wait=False, cancel_futures=True)


class _Voice:
    """The retained state as it was said last, for both the runtime and its connection."""

    def __init__(self, presence: Presence, detail: str) -> None:
        self.presence = presence
        self.latest = do.AnnounceState("init", 0.0, 0.0)
        self.detail = detail

    def announce(self) -> list[tuple[str, bytes]]:
        """The present state."""
        return [
            self.presence.announce(
                self.latest.state,
                models=self.latest.models,
                arms=self.latest.arms,
                load=self.latest.load,
                speed=self.latest.speed,
                detail=self.detail,
            )
        ]

    def farewell(self) -> list[tuple[str, bytes]]:
        """The goodbye."""
        return [self.presence.announce("disconnected", detail=self.detail)]


class _Edge:
    """The tasks of one edge worker."""

    def __init__(
        self,
        settings: EdgeSettings,
        tails: Tails,
        library: Library | None,
        threads: ThreadPoolExecutor,
        voice: _Voice,
        control: Connection,
        data: Connection,
        on_event: OnEvent | None,
    ) -> None:
        self._settings = settings
        self._tails = tails
        self._library = library
        self._threads = threads
        self._voice = voice
        self._control = control
        self._data = data
        self._on_event = on_event
        self._topics = voice.presence.topics
        self._log = _log.bind(edge=settings.id)
        self._fatal: ConfigurationError | None = None
        self._stopped = asyncio.Event()
        self._logged = Faults()
        self._tasks: asyncio.TaskGroup
        self._say_names()
        self._control_out = Outbox(control, limit=8)
        self._data_out = Outbox(data, limit=REPLIES_QUEUED)
        session = EdgeSession(
            settings.id,
            tails.models,
            batches=tails.batches,
            workers=settings.workers,
            limits=settings.limits,
        )
        voice.latest = session.announced
        self._shell: Shell[ev.Event, do.Command] = Shell(session, self._execute, ev.DeadlinePassed())

    async def serve(self) -> None:
        """Run until the session says `Stop`."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            background = [
                tasks.create_task(self._shell.run_timer(), name="edge timer"),
                tasks.create_task(self._control_out.run(), name="edge control out"),
                tasks.create_task(self._data_out.run(), name="edge data out"),
                tasks.create_task(self._read_control(), name="edge control in"),
                tasks.create_task(self._read_data(), name="edge data in"),
            ]
            if self._library is not None:
                watch = self._watch(self._library)
                background.append(tasks.create_task(watch, name="edge model folder"))
            for worker in range(self._settings.workers):
                self._post(ev.WorkerIdle(worker))
            self._log.info("ready", models=self._tails.names, workers=self._settings.workers)
            await self._stopped.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_S):
                    await self._data_out.drained()
                    await self._control_out.drained()
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

    async def _read_control(self) -> None:
        async for event in self._control.events():
            match event:
                case LinkUp(protocol):
                    self._log.info("connected", mqtt=protocol)
                    self._post(ev.LinkUp())
                case LinkDown(reason, taken_over):
                    self._log.warning("link lost", reason=reason)
                    self._post(ev.LinkDown())
                    if taken_over:
                        self._end_taken_over()
                case Delivery():
                    event.ack()  # nothing is subscribed here; a broker that sends is not our trouble

    async def _watch(self, library: Library) -> None:
        """Tell the session what comes and goes in the model folder; loading never blocks the loop."""
        told = ""
        while True:
            await asyncio.sleep(self._settings.poll_s)
            try:
                while changes := await asyncio.to_thread(library.look):
                    self._say_names()
                    for change in changes:
                        self._log.info("models changed", change=type(change).__name__, model=change.model)
                        self._post(change)
            except ConfigurationError as error:
                if str(error) != told:
                    told = str(error)
                    self._log.warning("model folder", reason=told)

    def _say_names(self) -> None:
        """Name the models to people in the next announcement."""
        self._voice.detail = "; ".join(filter(None, (self._tails.names, self._settings.detail)))

    def _end_taken_over(self) -> None:
        """Two clients with one id would throw each other out for ever."""
        self._fatal = ConfigurationError(
            f"another client connected as {self._settings.id!r}: give every edge worker its own --id"
        )
        self._post(ev.StopRequested())
        self._post(ev.StopRequested())

    async def _read_data(self) -> None:
        async for event in self._data.events():
            match event:
                case Delivery():
                    self._on_delivery(event)
                case LinkDown(reason):
                    self._log.warning("data link lost", reason=reason)
                case LinkUp():
                    pass

    def _on_delivery(self, delivery: Delivery) -> None:
        address = self._topics.parse(delivery.topic)
        if address is not None and address.topic is INFER:
            event = receive(address.fields["device"], delivery)
            if isinstance(event, ev.RequestBroken):
                now = asyncio.get_running_loop().time()
                if self._logged.worth_logging(event.fault, now):
                    self._log.warning(
                        "bad request", device=event.device, fault=event.fault, detail=event.detail
                    )
            self._post(event)
        delivery.ack()

    def _execute(self, command: do.Command) -> None:
        """Carry out one command without blocking."""
        match command:
            case do.RunTail():
                self._tasks.create_task(self._run_tail(command), name=f"edge tail {command.worker}")
            case do.PublishReply(device, reply):
                self._answer(device, reply, command.expires_s, command.correlation)
            case do.PublishRejection(device, rejection):
                self._log.debug("rejected", device=device, reason=rejection.reason, detail=rejection.detail)
                self._answer(device, rejection, command.expires_s, command.correlation)
            case do.AnnounceState():
                self._voice.latest = command
                for topic, payload in self._voice.announce():
                    self._control_out.put(Outgoing(topic, payload, qos=STATE.qos, retain=STATE.retained))
            case do.PublishQueue(notice):
                # Late it would be wrong: beside the replies, not behind states that wait for their PUBACK.
                topic = self._topics.of(QUEUE, edge=self._settings.id)
                self._data_out.put(Outgoing(topic, encode(QUEUE, notice), qos=QUEUE.qos))
            case do.DropModel(model):
                assert self._library is not None  # only it removes models
                self._library.drop(model)
            case do.PublishMetrics(values):
                topic, payload = self._voice.presence.metrics({**values, **self._own_metrics()})
                self._control_out.put(Outgoing(topic, payload, qos=METRICS.qos))
            case do.Stop():
                self._stopped.set()

    async def _run_tail(self, command: do.RunTail) -> None:
        """Run one tail in a worker thread; whatever happens there comes back as one event."""
        try:
            loop = asyncio.get_running_loop()
            outcomes = await loop.run_in_executor(self._threads, self._tails.run, command.requests)
        except Exception as error:  # noqa: BLE001 - torch raises anything; the worker must go on
            first = command.requests[0]
            self._log.exception("tail failed", model=first.model, cut=first.cut)
            failed = ev.Failure(None, f"the tail failed here: {type(error).__name__}")
            outcomes = (failed,) * len(command.requests)
        self._post(ev.TailFinished(command.worker, outcomes))

    def _answer(self, device: str, message: Message, expires_s: float, correlation: bytes | None) -> None:
        """Send to the device's own reply topic."""
        try:
            payload = encode(REPLY, message)
        except LocalProtocolError as error:
            self._log.error("cannot answer", device=device, why=str(error))
            return
        properties = Properties(
            correlation_data=correlation,
            content_type=REPLY.form.content_type,
            expiry_s=max(1, -int(-expires_s // 1)),
        )
        self._data_out.put(
            Outgoing(self._topics.of(REPLY, device=device), payload, qos=REPLY.qos, properties=properties)
        )

    def _own_metrics(self) -> dict[str, float]:
        """What the session cannot know."""
        return {
            "deliveries_dropped": self._data.dropped,
            "replies_dropped": self._data_out.dropped,
            "publishes_failed": self._data_out.failed + self._control_out.failed,
        }
