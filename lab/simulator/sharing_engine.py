"""One team whose devices share an edge worker: event by event, as far as they go.

Elsewhere a frame costs what it costs. Here that depends on what others ask meanwhile, so nothing is known
until it has happened; and a frame that takes longer than its period holds up the next one, which is why a
full edge worker is asked less. As on a testbed a frame that begins late meets its link as it was when it
was due.
"""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from bandits.policy import Cost, LinkCheck
from device.edges import TOLD_S
from lab.simulator.runs import Run
from lab.simulator.shared_edge import Answered, Refused, Said, SharedEdge, Told
from lab.simulator.team import Team
from lab.simulator.world import Ahead, Checking, Parts, Turn, Vector, World

_Event = Callable[[float], None]


def play_sharing(world: World, team: Team) -> Run:
    """Play all turns of a world whose devices share an edge worker (`World.shared`)."""
    return _Playing(world, team).play()


@dataclass(eq=False, slots=True)
class _Frame:
    """One under way: the how manieth of all, and begun when, with which arm."""

    number: int
    turn: Turn
    parts: Parts
    begun_s: float
    arm: int

    @property
    def id(self) -> str:
        """Of its request."""
        return str(self.number)


class _Playing:
    """One run."""

    def __init__(self, world: World, team: Team) -> None:
        assert world.shared is not None
        self._team = team
        self._edge = SharedEdge(world.arms, world.shared.workers, world.shared.batches)
        self._coming: list[deque[tuple[int, Turn]]] = [deque() for _ in world.types]
        n = world.rounds
        self._at_s, self._device = np.empty(n), np.empty(n, dtype=np.int32)
        self._arm, self._cost, self._regret = np.empty(n, dtype=np.int32), np.empty(n), np.empty(n)
        for number, turn in enumerate(world.turns()):
            self._coming[turn.device].append((number, turn))
            self._at_s[number], self._device[number] = turn.at_s, turn.device
        self._events: list[tuple[float, int, _Event]] = []
        self._numbered = 0
        self._asked: dict[str, _Frame] = {}
        self._on_way: dict[str, tuple[float, float]] = {}  # when each request arrives, what its tail takes
        self._told: Told | None = None
        self._told_at = 0.0

    def play(self) -> Run:
        """Play it all."""
        for coming in self._coming:
            self._next(coming, 0.0)
        while self._events:
            if self._edge.next_s() < self._events[0][0]:
                now = self._edge.next_s()
                self._hear(self._edge.pass_time(now), now)
            else:
                now, _, event = heapq.heappop(self._events)
                event(now)
        traffic = self._team.traffic
        return Run(
            self._at_s, self._device, self._arm, self._cost, self._regret, traffic.messages, traffic.bytes
        )

    def _at(self, at_s: float, event: _Event) -> None:
        self._numbered += 1
        heapq.heappush(self._events, (at_s, self._numbered, event))

    def _next(self, coming: deque[tuple[int, Turn]], now: float) -> None:
        if coming:
            number, turn = coming.popleft()
            self._at(max(turn.at_s, now), partial(self._begin, number, turn))

    def _begin(self, number: int, drawn: Turn, now: float) -> None:
        parts = drawn.parts
        assert parts is not None
        waits_s = self._waits_s(parts, now)
        turn = replace(
            drawn,
            at_s=now,
            means=parts.mean_s(waits_s),
            line=self._line(now),
            check=_late(drawn, now),
        )
        arm = self._team.select(turn)
        frame = _Frame(number, turn, parts, now, arm)
        if not parts.sends[arm]:
            device_s = float(parts.sent_s[arm])
            self._at(now + device_s, partial(self._end, frame, Cost(device_s, device_s)))
            return
        arrives_at = now + float(parts.arrives_s[arm])
        self._asked[frame.id], self._on_way[frame.id] = frame, (arrives_at, float(parts.tail_s[arm]))
        self._at(arrives_at, partial(self._arrive, frame))
        self._at(now + float(parts.until_s[arm]), partial(self._give_up, frame.id))

    def _arrive(self, frame: _Frame, now: float) -> None:
        """Let the edge worker take a request in; it cannot know whether the device still waits."""
        parts, arm = frame.parts, frame.arm
        _, takes_s = self._on_way.pop(frame.id)
        budget_s = float(parts.until_s[arm] - parts.sent_s[arm])
        self._hear(self._edge.ask(frame.turn.device, frame.id, arm, takes_s, budget_s, now), now)

    def _hear(self, said: list[Said], now: float) -> None:
        """Let what the edge worker says travel."""
        for each in said:
            match each:
                case Answered() | Refused():
                    frame = self._asked.get(each.id)
                    if frame is None or frame.parts.reply_lost:
                        continue
                    heard = (
                        partial(self._answered, each)
                        if isinstance(each, Answered)
                        else partial(self._give_up, each.id, refused=True)
                    )
                    self._at(now + frame.parts.back_s, heard)
                case Told():
                    self._told, self._told_at = each, now

    def _answered(self, answer: Answered, now: float) -> None:
        frame = self._asked.pop(answer.id, None)
        if frame is None:
            return  # it had given up
        total_s, device_s = now - frame.begun_s, float(frame.parts.sent_s[frame.arm])
        link_s = max(0.0, total_s - device_s - answer.tail_s)
        wait_s = min(link_s, frame.turn.wait_s + answer.queue_s)
        self._end(frame, Cost(total_s, device_s, link_s, wait_s), now)

    def _give_up(self, id_: str, now: float, *, refused: bool = False) -> None:
        """Finish without an answer, if there is none yet."""
        frame = self._asked.pop(id_, None)
        if frame is None:
            return
        waited_s, device_s = now - frame.begun_s, float(frame.parts.sent_s[frame.arm])
        finish_s = float(frame.parts.finish_s[frame.arm])
        cost = Cost(waited_s + finish_s, device_s, waited_s - device_s, censored=True, refused=refused)
        self._at(now + finish_s, partial(self._end, frame, cost))

    def _end(self, frame: _Frame, cost: Cost, now: float) -> None:
        turn = replace(frame.turn, at_s=now)
        self._team.update(turn, frame.arm, cost)
        self._arm[frame.number], self._cost[frame.number] = frame.arm, cost.total_s
        self._regret[frame.number] = turn.means[frame.arm] - turn.means.min()
        self._next(self._coming[turn.device], now)

    def _line(self, now: float) -> tuple[float, float] | None:
        """Return what devices believe of the line, as `device.edges` has it."""
        told = self._told
        if told is None or now > self._told_at + TOLD_S:
            return None
        left_s = max(0.0, self._told_at + told.free_s - now)
        return left_s, told.jobs * left_s / told.free_s if told.free_s > 0.0 else 0.0

    def _waits_s(self, parts: Parts, now: float) -> Vector:
        """Return for how long each arm's request would wait, (K,), if all that are known now run one by one.

        For means alone, which regret and oracle are of; what really happens is the session's.
        """
        arrives_at = now + parts.arrives_s
        free_at = np.full_like(arrives_at, now + self._edge.free_s(now))
        for at_s, takes_s in sorted(self._on_way.values()):
            busy_until = np.maximum(free_at, at_s) + takes_s / self._edge.workers
            free_at = np.where(at_s <= arrives_at, busy_until, free_at)
        waits_s: Vector = np.where(parts.sends, np.maximum(0.0, free_at - arrives_at), 0.0)
        return waits_s


def _late(turn: Turn, now: float) -> Checking | None:
    """Return the link checks of a frame that has begun later than it was due."""
    late_s, check = now - turn.at_s, turn.check
    if check is None or late_s <= 0.0:
        return check
    due = check

    def checked(after_s: float, *, long: bool = False, ahead: Ahead | None = None) -> LinkCheck | None:
        return due(late_s + after_s, long=long, ahead=ahead)

    return checked
