"""One policy on a testbed's device: a device of its own on the bus, whose frames come in blocks."""

import asyncio
import contextlib
from dataclasses import replace
from functools import partial

from bandits.policy import Policy
from bus.errors import CansError, ConfigurationError
from bus.messages import Feedback
from bus.topics import STATS
from bus.wire import encode
from device import commands as do
from device import events as ev
from device.compute import Compute
from device.known import Known
from device.plan import Plan
from device.policy_names import ANS, DEVICE_ONLY, LEARNER
from device.runtime import Parts, run_device
from device.settings import DeviceSettings
from lab.simulator import spec
from lab.simulator.federated_team import settings_of
from lab.testbed.gate import GatedFrames, film_of
from lab.testbed.orders import Join, Play, Player, Row
from lab.testbed.policies import policy_of

# Nobody looks at a testbed's metrics, and they would cross the link beside somebody else's frames.
_METRICS_S = 86_400.0
# The longest that a block waits for its last link check.
_CHECK_S = 10.0
_STAGES = (
    "head", "encode", "wait", "link", "queue", "decode", "tail", "reply", "vain", "fallback",
)  # fmt: skip


class PlayerDevice:
    """Plays blocks for one policy until it is told to leave.

    Args:
        player: who.
        join: the repetition.
        device: what the process was started with; `player` and `join` replace what they name.
        compute: shared by all players of the process, one of which plays at a time.
        known: what profiles and early exits have told.
    """

    def __init__(
        self,
        player: Player,
        join: Join,
        device: DeviceSettings,
        compute: Compute,
        known: Known,
    ) -> None:
        self._messages = self._bytes = 0  # of statistics that have gone up since somebody asked
        self._player = player
        self._compute = compute
        self._known = known
        self._settings = _settings_of(player, join, device)
        loop = asyncio.get_running_loop()
        self._waits = asyncio.Event()
        self._frames = GatedFrames(
            film_of(device.source, compute.input_size, player.seed),
            fps=join.fps,
            on_wait=partial(_tell, loop, self._waits),
        )
        self._rows: dict[int, Row] = {}
        self._lost: dict[int, str] = {}
        self._period_s = 1.0 / join.fps
        self._first, self._wanted, self._stops = 0, 0, False
        self._seen = self._began = 0  # the session counts its frames on, whatever the film
        self._played = asyncio.Event()
        self._checked = asyncio.Event()  # no link check is on its way
        self._checked.set()
        self._running: asyncio.Task[object] | None = None

    def start(self) -> None:
        """Begin; `ready` says when it is there."""
        self._running = asyncio.create_task(self._run(), name=f"player {self._player.id}")

    async def ready(self) -> None:
        """Wait until it asks for its first frame.

        Raises:
            ConfigurationError: it cannot play, and why.
        """
        await self._or_end(self._waits)

    async def play(self, order: Play) -> tuple[tuple[Row, ...], dict[str, str]]:
        """Play a block; return the answered frames, and those that were lost with the reasons.

        It ends before its end where the order says so.

        Raises:
            ConfigurationError: it has ended.
        """
        self._rows, self._lost = {}, {}
        self._first, self._wanted, self._stops = order.first, order.frames, order.stop_when_late
        self._began = self._seen
        self._played.clear()
        self._frames.open(order.first, order.frames, order.after_s)
        await self._or_end(self._played)
        # Links are emptied between blocks: a check that is still on its way then would say that all is well.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CHECK_S):
                await self._or_end(self._checked)
        rows = tuple(self._rows[seq] for seq in sorted(self._rows))
        return rows, {str(seq): why for seq, why in self._lost.items()}

    def take_traffic(self) -> tuple[int, int]:
        """Return messages and bytes of statistics that have gone up since the last call, or the beginning."""
        taken = self._messages, self._bytes
        self._messages = self._bytes = 0
        return taken

    async def leave(self) -> None:
        """Hand in what was learnt, say goodbye, be gone."""
        self._frames.close()
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})

    async def _or_end(self, event: asyncio.Event) -> None:
        assert self._running is not None
        waiting = asyncio.create_task(event.wait(), name="waiting for a player")
        try:
            await asyncio.wait({waiting, self._running}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if event.is_set():
            return
        error = None if self._running.cancelled() else self._running.exception()
        if isinstance(error, CansError):
            raise ConfigurationError(f"{self._player.id}: {error}")
        if error is not None:
            raise error
        raise ConfigurationError(f"{self._player.id} ended by itself")

    async def _run(self) -> None:
        await run_device(
            self._settings,
            compute=self._compute,
            parts=Parts(source=self._frames, known=self._known, policies=self._policies),
            on_command=self._see,
            on_event=self._hear,
        )

    def _policies(self, plan: Plan, boot: int) -> tuple[Policy, ...]:
        player = self._player
        return (policy_of(player.policy, player.learner, plan, self._known, boot=boot, seed=player.seed),)

    def _see(self, command: do.Command) -> None:
        match command:
            case do.PublishFeedback(feedback, check):
                if check:
                    self._checked.clear()
                self._rows[self._film_number(feedback.seq)] = self._row(feedback)
            case do.CheckLink():
                self._checked.clear()
                return
            case do.RejectFrame(seq, _, reason):
                self._lost[self._film_number(seq)] = reason
            case do.SendUpload(upload):
                self._messages += 1
                self._bytes += len(encode(STATS, upload))
                return
            case _:
                return
        self._seen += 1
        if self._stops and isinstance(command, do.PublishFeedback) and self._late(command.feedback):
            self._wanted -= self._frames.shut()
        if len(self._rows) + len(self._lost) >= self._wanted:
            self._played.set()

    def _hear(self, event: ev.Event) -> None:
        if isinstance(event, ev.LinkChecked | ev.LinkCheckFailed):
            self._checked.set()

    def _late(self, feedback: Feedback) -> bool:
        """Whether the moment of the next frame was over before this one was answered."""
        return feedback.total_ms > 1e3 * self._period_s

    def _film_number(self, seq: int) -> int:
        return self._first + seq - self._began

    def _row(self, feedback: Feedback) -> Row:
        stages = {"total": feedback.total_ms}
        stages |= {name: value for name in _STAGES if (value := getattr(feedback, f"{name}_ms")) > 0.0}
        label = self._compute.plan.label(feedback.arm)
        return Row(
            seq=self._film_number(feedback.seq),
            arm=label,
            by=feedback.answered_by,
            reason=feedback.reason,
            top=feedback.top,
            met=feedback.deadline_met,
            sent_bytes=feedback.sent_bytes,
            stages=stages,
        )


def _tell(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    loop.call_soon_threadsafe(event.set)


def _settings_of(player: Player, join: Join, device: DeviceSettings) -> DeviceSettings:
    learner = player.learner
    family = isinstance(learner, spec.Family)
    own = replace(
        device,
        id=player.id,
        type=player.type,
        # What a device reads off a policy's name: who shares, and who heeds key frames.
        policy=LEARNER if family else ANS if isinstance(learner, spec.Ans) else DEVICE_ONLY,
        compare=(),
        deadline_ms=join.deadline_ms,
        fallback_at=join.fallback_at,
        patience=join.patience,
        look_ahead=join.look_ahead,
        warm_start=learner.warm_start if isinstance(learner, spec.Family) else 0,
        profile=None,
        edge_profile=None,
        state_dir=None,
        frames=None,
        fps=0.0,
        seed=player.seed,
        metrics_s=_METRICS_S,
    )
    return replace(own, learner=settings_of(learner)) if isinstance(learner, spec.Family) else own
