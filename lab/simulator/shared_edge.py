"""An edge worker that one team's devices share, in virtual time.

Who waits for whom, what runs together, what is refused and what is said of the queue is decided by
`edge.session`, the very code of `cans edge`. Only what a run of a tail takes comes from the world: of one
frame what its table says; of k frames (f + k) / (f + 1) times that, where the tail is known to take several
(`edge.batching`).
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bus.messages import ActivationRequest
from edge import commands as do
from edge import events as ev
from edge.batching import Batch
from edge.session import EdgeSession, Limits

_EDGE, _MODEL = "edge", "0" * 16
# Numbers for people are not needed here, and would wake the session every few seconds.
_LIMITS = Limits(metrics_s=1e9, load_period_s=1e9)


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer leaves: seconds that the request waited there, and that its tail took."""

    id: str
    queue_s: float
    tail_s: float


@dataclass(frozen=True, slots=True)
class Refused:
    """No answer will come."""

    id: str


@dataclass(frozen=True, slots=True)
class Told:
    """All devices are told for how long a request would wait that arrived there now, and how many do."""

    free_s: float
    jobs: int


Said = Answered | Refused | Told


class SharedEdge:
    """See above.

    Args:
        arms: labels, CUT/CODEC; those of the cut "end" ask nobody.
        workers: tails at a time.
        batches: by cut, how many frames a run takes, and what it costs besides them.

    Attributes:
        workers: as above.
    """

    def __init__(self, arms: Sequence[str], workers: int, batches: Mapping[int, Batch]) -> None:
        self._arms = [_cut_and_codec(arm) for arm in arms]
        served = frozenset(arm for arm in self._arms if arm is not None)
        self._batches = batches
        self.workers = workers
        self._waiting: dict[str, float] = {}  # by request, what its tail takes by itself
        self._running: list[_Running] = []
        self._session = EdgeSession(
            _EDGE, {_MODEL: served}, batches={_MODEL: batches}, workers=workers, limits=_LIMITS
        )
        for worker in range(workers):
            self._session.handle(ev.WorkerIdle(worker), 0.0)
        self._session.handle(ev.LinkUp(), 0.0)

    def next_s(self) -> float:
        """Return when to call `pass_time` again."""
        deadline_s = self._session.next_deadline()
        ends_s = self._running[0].ends_s if self._running else float("inf")
        return ends_s if deadline_s is None else min(deadline_s, ends_s)

    def pass_time(self, now: float) -> list[Said]:
        """Do what is due by now; returns what is said."""
        said = self._obey(self._session.handle(ev.DeadlinePassed(), now), now)
        while self._running and self._running[0].ends_s <= now:
            run = heapq.heappop(self._running)
            outcomes = tuple(_output(run.takes_s) for _ in range(run.frames))
            said += self._obey(self._session.handle(ev.TailFinished(run.worker, outcomes), now), now)
        return said

    def ask(self, device: int, id_: str, arm: int, takes_s: float, budget_s: float, now: float) -> list[Said]:
        """Take in a request.

        Args:
            device: who asks.
            id_: of the request, unique.
            arm: one that asks.
            takes_s: what its tail takes by itself.
            budget_s: from now on nobody waits longer than that.
            now: when it arrives, seconds.
        """
        asked = self._arms[arm]
        assert asked is not None, "an arm that stays on the device"
        self._waiting[id_] = takes_s
        request = ActivationRequest(
            id=id_, device=str(device), type="device", model=_MODEL, cut=asked[0], codec=asked[1], dtype="",
            shape=(), seq=0, budget_ms=1e3 * budget_s, payload=_NOTHING,
        )  # fmt: skip
        return self._obey(self._session.handle(ev.RequestArrived(str(device), request), now), now)

    def free_s(self, now: float) -> float:
        """Return for how long a request would wait that came now, if all others run one by one."""
        if len(self._running) < self.workers:
            return 0.0
        return max(0.0, self._running[0].ends_s - now) + sum(self._waiting.values()) / self.workers

    def _obey(self, commands: Sequence[do.Command], now: float) -> list[Said]:
        said: list[Said] = []
        for command in commands:
            match command:
                case do.RunTail(worker, requests):
                    self._run(worker, requests, now)
                case do.PublishReply(reply=reply):
                    said.append(Answered(reply.id, reply.queue_ms / 1e3, reply.tail_ms / 1e3))
                case do.PublishRejection(rejection=rejection):
                    self._waiting.pop(rejection.id, None)
                    said.append(Refused(rejection.id))
                case do.PublishQueue(notice):
                    said.append(Told(notice.free_ms / 1e3, notice.jobs))
                case _:
                    pass  # states and numbers for others
        return said

    def _run(self, worker: int, requests: Sequence[ActivationRequest], now: float) -> None:
        alone_s = [self._waiting.pop(request.id) for request in requests]
        batch, frames = self._batches.get(requests[0].cut), len(requests)
        fixed = 0.0 if batch is None else batch.fixed
        takes_s = sum(alone_s) / frames * (fixed + frames) / (fixed + 1.0)
        heapq.heappush(self._running, _Running(now + takes_s, worker, frames, takes_s))


class _Running(NamedTuple):
    ends_s: float
    worker: int
    frames: int
    takes_s: float


_NOTHING = memoryview(b"")


def _output(takes_s: float) -> ev.Output:
    return ev.Output(0, 0.0, "", (), _NOTHING, 0.0, 1e3 * takes_s)


def _cut_and_codec(label: str) -> tuple[int, str] | None:
    cut, _, codec = label.partition("/")
    return (int(cut), codec) if cut.isdigit() else None
