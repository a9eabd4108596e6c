"""Carries out a device session's commands and brings it what happens: the tasks of one device.

Every task posts its completion or failure back as an event; none of them decides anything.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, assert_never

import structlog

from bus.connection import Connection, Delivery, LinkDown, LinkUp, Properties
from bus.errors import ConfigurationError, LinkError, LocalProtocolError
from bus.outbox import Outbox, Outgoing
from bus.shell import Shell
from bus.snapshot import write_snapshot
from bus.topics import FEEDBACK, INFER, METRICS, REPLY, STATE, STATS
from bus.wire import encode
from device import commands as do
from device import events as ev
from device.compute import Compute, Frame
from device.frames import FrameSource, TellsWhen
from device.inbound import event_of
from device.key_frames import KeyFrames
from device.link_checks import PADDED_BYTES
from device.preparation import run_warm_start
from device.session import DeviceSession
from device.settings import DeviceSettings
from device.voice import Voice

OnEvent = Callable[[ev.Event], None]
OnCommand = Callable[[do.Command], None]
GOODBYE_S = 2.0
# Feedback, state and metrics of a while without a link; the oldest go first.
CONTROL_QUEUED = 64

_log = structlog.get_logger("device")


class Observers(NamedTuple):
    """Told every event before the session is, and every command before it is carried out."""

    on_event: OnEvent | None = None
    on_command: OnCommand | None = None


class Executor:
    """The tasks of one device.

    Args:
        settings, session, compute, source, voice: the device's parts.
        threads: for torch, and for the source.
        path: of the state file; None keeps nothing.
        control, data: its connections.
        observers: told what happens, and what is to be done.
        rows: of its warm start, where a profile knows them; none to run early exits.
    """

    def __init__(
        self,
        settings: DeviceSettings,
        session: DeviceSession,
        compute: Compute,
        source: FrameSource,
        threads: tuple[ThreadPoolExecutor, ThreadPoolExecutor],
        voice: Voice,
        path: Path | None,
        control: Connection,
        data: Connection,
        observers: Observers,
        rows: tuple[ev.ExitRow, ...] = (),
    ) -> None:
        self._settings = settings
        self._session = session
        self._compute = compute
        self._source = source
        # Comparing frames costs milliseconds that only ANS has a use for.
        self._is_key_frame = KeyFrames() if "ans" in (settings.policy, *settings.compare) else None
        self._threads = threads
        self._voice = voice
        self._topics = voice.presence.topics
        self._path = path
        self._control = control
        self._data = data
        self._observers = observers
        self._rows = rows
        self._log = _log.bind(device=settings.id)
        self._out = Outbox(control, limit=CONTROL_QUEUED)
        self._sending = False
        self._stopped = asyncio.Event()
        self._error = ""
        self._replaced = False  # a frame has been, by a newer one
        self._tasks: asyncio.TaskGroup
        self._capturing: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[None] | None = None
        self._shell: Shell[ev.Event, do.Command] = Shell(session, self._execute, ev.DeadlinePassed())

    async def serve(self) -> None:
        """Run until the session says `Stop`.

        Raises:
            ConfigurationError: it stopped because a person must act.
        """
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            background = [
                tasks.create_task(self._shell.run_timer(), name="device timer"),
                tasks.create_task(self._out.run(), name="device control out"),
                tasks.create_task(self._read("control", self._control), name="device control in"),
                tasks.create_task(self._read("data", self._data), name="device data in"),
                tasks.create_task(self._report(), name="device metrics"),
            ]
            if isinstance(self._source, TellsWhen):
                self._source.tell_due(partial(self._due_soon, asyncio.get_running_loop()))
            self._post(ev.Started())
            await self._stopped.wait()
            self._publish_metrics()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_S):
                    await self._out.drained()
            # A capture may sleep until its frame is due, or wait for a camera; a check for a silent broker.
            for task in (*background, *filter(None, [self._capturing, self._checking])):
                task.cancel()
        self._log.info("stopped")
        if self._error:
            raise ConfigurationError(self._error)

    def stop(self) -> None:
        """Ask it to finish the frame in play and hand in what was learnt."""
        self._post(ev.StopRequested("told to stop"))

    def hand_over(self) -> None:
        """Ask it to play what it has captured, hand in what was learnt, and make room for another session."""
        self._post(ev.HandoverRequested())

    def _post(self, event: ev.Event) -> None:
        if self._observers.on_event is not None:
            self._observers.on_event(event)
        self._shell.post(event)
        ready = self._session.phase in {"running", "draining", "flushing"}
        if ready and not self._voice.ready:
            self._voice.ready = True
            for topic, payload in self._voice.announce():
                self._out.put(Outgoing(topic, payload, qos=STATE.qos, retain=STATE.retained))

    def _due_soon(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        """Say when the next frame comes; called in the source's thread."""
        loop.call_soon_threadsafe(self._post, ev.FrameDue(at))

    async def _read(self, link: ev.Link, connection: Connection) -> None:
        async for event in connection.events():
            match event:
                case Delivery():
                    happened = event_of(self._topics, event)
                    if happened is not None:
                        self._post(happened)
                    event.ack()
                case LinkUp(protocol):
                    self._log.info("connected", link=link, mqtt=protocol)
                    self._post(ev.LinkCameUp(link))
                case LinkDown(reason, taken_over):
                    self._log.warning("link_lost", link=link, reason=reason)
                    self._post(ev.LinkWentDown(link, reason, taken_over))

    async def _report(self) -> None:
        """Publish metrics now and then."""
        while True:
            await asyncio.sleep(self._settings.metrics_s)
            self._publish_metrics()

    def _publish_metrics(self) -> None:
        topic, payload = self._metrics()
        self._out.put(Outgoing(topic, payload, qos=METRICS.qos))

    def _metrics(self) -> tuple[str, bytes]:
        own = {
            "deliveries_dropped": float(self._control.dropped + self._data.dropped),
            "publishes_dropped": float(self._out.dropped),
            "publishes_failed": float(self._out.failed),
        }
        return self._voice.presence.metrics({**self._session.metrics(), **own})

    def _execute(self, command: do.Command) -> None:  # noqa: C901, PLR0912 - a table
        """Carry out one command without blocking."""
        if self._observers.on_command is not None:
            self._observers.on_command(command)
        match command:
            case do.RunWarmStart():
                self._spawn(self._warm_start(command.rows), "warm start")
            case do.CaptureNext():
                self._capturing = self._spawn(self._capture(command.at), "capture")
            case do.RunHead():
                self._spawn(self._run_head(command), "head")
            case do.RunFallback():
                self._spawn(self._run_fallback(command), "fallback")
            case do.SendRequest():
                self._spawn(self._send_request(command), "request")
            case do.SendUpload():
                self._send_upload(command)
            case do.SaveSnapshot():
                self._spawn(self._save(command), "snapshot")
            case do.PublishFeedback():
                self._publish_feedback(command)
            case do.CheckLink(number):
                topic, payload = self._metrics()
                checking = self._check_link(number, topic, payload.ljust(PADDED_BYTES))
                self._checking = self._spawn(checking, "link check")
            case do.Answer():
                self._log.debug("answer", seq=command.seq, policy=command.policy, top=command.top)
            case do.RejectFrame():
                self._tell_rejected(command)
            case do.Note():
                getattr(self._log, command.level)(command.event, **dict(command.fields))
            case do.Stop(error):
                self._error = error
                self._stopped.set()
            case _:
                assert_never(command)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return self._tasks.create_task(work, name=f"device {name}")

    async def _warm_start(self, rows: int) -> None:
        loop = asyncio.get_running_loop()
        if self._rows:
            self._log.info("warm_start", rows=len(self._rows), source="profile")
            self._post(ev.WarmStartFinished(self._rows))
            return
        self._log.info("warm_start", rows=rows, exits=self._compute.exit_count)
        try:
            found = await loop.run_in_executor(
                self._threads[0], run_warm_start, self._compute, rows, self._settings.seed
            )
        except Exception as error:  # noqa: BLE001 - torch raises anything; the device can do without
            self._post(ev.WarmStartFinished((), reason=f"{type(error).__name__}: {error}"[:200]))
        else:
            self._post(ev.WarmStartFinished(found))

    async def _capture(self, at: float) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, at - time.monotonic()))
        began = time.monotonic()
        try:
            taken = await loop.run_in_executor(self._threads[1], self._next_frame)
        except ConfigurationError as error:
            self._post(ev.SourceEnded(str(error)))
        else:
            captured_ms = (time.monotonic() - began) * 1000.0
            self._post(ev.SourceEnded() if taken is None else ev.FrameCaptured(*taken, captured_ms))

    def _next_frame(self) -> tuple[Frame, bool] | None:
        """Take the next frame, and whether it is a key frame; runs in the source's thread."""
        frame = self._source.next_frame()
        if frame is None:
            return None
        return frame, self._is_key_frame is None or self._is_key_frame(frame)

    async def _run_head(self, command: do.RunHead) -> None:
        loop = asyncio.get_running_loop()
        frame: Frame = command.frame  # type: ignore[assignment] # opaque to the session
        try:
            head = await loop.run_in_executor(
                self._threads[0], self._compute.run_head, frame, command.arm, command.until
            )
        except Exception as error:  # noqa: BLE001 - as above; the frame is rejected with the reason
            self._log.exception("head_failed", arm=command.arm)
            self._post(ev.ComputeFailed(command.turn, f"{type(error).__name__}: {error}"))
        else:
            self._post(ev.HeadFinished(command.turn, head))

    async def _run_fallback(self, command: do.RunFallback) -> None:
        loop = asyncio.get_running_loop()
        try:
            answer = await loop.run_in_executor(
                self._threads[0], self._compute.finish, command.kept, command.exit
            )
        except Exception as error:  # noqa: BLE001 - as above
            self._log.exception("fallback_failed")
            self._post(ev.ComputeFailed(command.turn, f"{type(error).__name__}: {error}"))
        else:
            self._post(ev.FallbackFinished(command.turn, answer.top, answer.confidence, answer.fallback_ms))

    async def _send_request(self, command: do.SendRequest) -> None:
        """Publish an activation, unless an older one is still being written: then it is finished here.

        The older one cannot be taken back, half of it is on the wire; behind it the newer would be late too.
        """
        if self._sending:
            self._post(ev.SendFailed(command.turn, "link_busy"))
            return
        request = command.request
        properties = Properties(
            response_topic=self._topics.of(REPLY, device=self._settings.id),
            correlation_data=request.id.encode(),
            content_type=INFER.form.content_type,
            expiry_s=max(1, math.ceil(request.budget_ms / 1000.0)),
        )
        topic = self._topics.of(INFER, edge=command.edge, device=self._settings.id)
        self._sending = True
        try:
            await self._data.publish(topic, encode(INFER, request), qos=INFER.qos, properties=properties)
        except (LinkError, LocalProtocolError) as error:
            reason = "too_large" if isinstance(error, LocalProtocolError) else "link_lost"
            self._sending = False
            self._post(ev.SendFailed(command.turn, reason))
        else:
            self._sending = False
            self._post(ev.RequestSent(command.turn))

    def _tell_rejected(self, command: do.RejectFrame) -> None:
        """Say it of each frame, but once of those that a newer one has replaced: metrics count these."""
        said = {"seq": command.seq, "policies": ",".join(command.policies), "reason": command.reason}
        if command.reason == "dropped" and self._replaced:
            self._log.debug("rejected", **said)
        elif command.reason == "dropped":
            self._replaced = True
            self._log.warning("rejected", **said, hint="frames come faster than answers: a lower --fps")
        else:
            self._log.warning("rejected", **said)

    def _publish_feedback(self, command: do.PublishFeedback) -> None:
        topic = self._topics.of(FEEDBACK, type=self._settings.type, device=self._settings.id)
        payload = encode(FEEDBACK, command.feedback)
        if command.check:
            # White space behind it is JSON still: whoever reads feedback reads on.
            payload = payload.ljust(PADDED_BYTES) if command.padded else payload
            self._checking = self._spawn(self._check_link(command.check, topic, payload), "link check")
        else:
            self._out.put(Outgoing(topic, payload, qos=FEEDBACK.qos))

    async def _check_link(self, number: int, topic: str, payload: bytes) -> None:
        """Publish past the outbox, in which it would wait, and time the acknowledgement."""
        began = time.monotonic()
        try:
            await self._control.publish(topic, payload, qos=1)
        except (LinkError, LocalProtocolError):
            self._out.failed += 1
            self._post(ev.LinkCheckFailed(number))
        else:
            self._post(ev.LinkChecked(number, time.monotonic() - began))

    def _send_upload(self, command: do.SendUpload) -> None:
        upload = command.upload

        def ended(succeeded: bool) -> None:  # noqa: FBT001 - the outbox's signature
            if succeeded:
                self._post(ev.UploadSent(upload.boot, upload.seq))
            else:
                self._post(ev.UploadSendFailed(upload.boot, upload.seq, "the link or the broker failed it"))

        topic = self._topics.of(STATS, type=self._settings.type, device=self._settings.id)
        self._out.put(Outgoing(topic, encode(STATS, upload), qos=STATS.qos, ended=ended))

    async def _save(self, command: do.SaveSnapshot) -> None:
        try:
            if self._path is not None:
                await write_snapshot(self._path, command.payload)
        except OSError as error:
            self._post(ev.SnapshotFailed(command.number, error.strerror or str(error)))
        else:
            self._post(ev.SnapshotSaved(command.number))
