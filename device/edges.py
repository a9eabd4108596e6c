"""The edge workers that serve our model, as their retained states tell.

States may come twice, late and out of order: the boot counter tells the will of a dead process from the
word of the living one.
What a person should read of them in the log is decided here too, because only here it is known whether
anybody is left.
This file must never decide how long a request waits.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from bus.messages import State
from device.choose_edge import choose_edge
from device.commands import Note

# A broker open to anyone lets anyone announce edge workers; more than these are not remembered.
LIMIT = 64
# How long an edge worker is left alone after it said that it cannot serve us.
REST_S = 5.0
# What an edge worker has said of its queue holds for so long; it says more while it has one.
TOLD_S = 5.0
# How many of a stranger's networks a line of the log holds.
_HASHES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Line:
    """What an edge worker has said of its line, and when: for how long one would wait, behind how many."""

    told_at: float
    free_s: float
    jobs: int

    def left_s(self, now: float) -> float:
        """Return for how long one would wait who came now, if nobody else has."""
        return max(0.0, self.told_at + self.free_s - now)

    def jobs_left(self, now: float) -> float:
        """Return how many there are still, which go one after the other."""
        return self.jobs * self.left_s(now) / self.free_s if self.free_s > 0.0 else 0.0


@dataclass(frozen=True, slots=True)
class _Edge:
    boot: int
    ready: bool
    load: float
    resting_until: float = 0.0
    line: _Line | None = None


class Edges:
    """Who can be asked.

    Args:
        model: hash that an edge worker must announce.
        arms: what it must be ready to be asked, as `bus.arms` says it; an edge worker that does not say is
            believed.
        draw: uniform numbers in [0, 1).
    """

    def __init__(self, model: str, arms: str, draw: Callable[[], float]) -> None:
        self._model = model
        self._arms = arms
        self._draw = draw
        self._edges: dict[str, _Edge] = {}
        self._told: Literal["nothing", "found", "missing", "lost"] = "nothing"
        # Those told of as strangers, each once; when it is full, no more are told of.
        self._strangers: set[str] = set()
        self._untold: list[Note] = []

    def announced(self, state: State) -> bool:
        """Take in a state; True if that edge worker can no longer answer what it was asked."""
        known = self._edges.get(state.id)
        if known is not None and state.boot < known.boot:
            return False
        serves, agrees = self._match(state)
        ready = state.state == "ready" and serves and agrees
        if state.state == "ready" and not ready:
            self._tell_of_stranger(state, serves=serves)
        if known is None and not ready:
            return False
        if known is None and len(self._edges) >= LIMIT and not self._forget_one():
            return False
        # A new boot has forgotten what the old one was asked. One that only stops to announce our model still
        # answers what it was asked, and what crosses the announcement.
        gone = known is not None and known.ready and (state.state != "ready" or state.boot > known.boot)
        rested = known is None or state.boot > known.boot
        resting_until = 0.0 if rested or known is None else known.resting_until
        same = known is not None and state.boot == known.boot
        line = known.line if same and known else None
        self._edges[state.id] = _Edge(state.boot, ready, state.load, resting_until, line)
        return gone

    def load_seen(self, edge: str, load: float) -> None:
        """Take in the load that an answer carried, which is fresher than the announced one."""
        if edge in self._edges:
            self._edges[edge] = replace(self._edges[edge], load=load)

    def told(self, edge: str, free_s: float, jobs: int, now: float) -> None:
        """Take in for how long a request would wait that arrived there now, and how many jobs are there."""
        if edge in self._edges:
            self._edges[edge] = replace(self._edges[edge], line=_Line(now, free_s, jobs))

    def line(self, now: float) -> tuple[float, float] | None:
        """Return for how long a request would wait that arrived now, and behind how many, at best.

        None where nobody who can be asked has said so lately: then each answer tells.
        """
        told = [
            (edge.line.left_s(now), edge.line.jobs_left(now))
            for edge in self._edges.values()
            if edge.ready
            and edge.resting_until <= now
            and edge.line is not None
            and edge.line.told_at >= now - TOLD_S
        ]
        return min(told, default=None)

    def rest(self, edge: str, now: float) -> None:
        """Leave an edge worker alone for a while: it said that it cannot serve us."""
        if edge in self._edges:
            self._edges[edge] = replace(self._edges[edge], resting_until=now + REST_S)

    def any_ready(self, now: float) -> bool:
        """Whether anybody can be asked."""
        return any(edge.ready and edge.resting_until <= now for edge in self._edges.values())

    def choose(self, now: float) -> str | None:
        """Return whom to ask, or None."""
        loads = {
            name: edge.load for name, edge in self._edges.items() if edge.ready and edge.resting_until <= now
        }
        return choose_edge(loads, self._draw)

    def news(self, *, playing: bool) -> list[Note]:
        """Return what a person should read that came about since the last call.

        Args:
            playing: frames are taken, so it matters that nobody was ever found.
        """
        notes, self._untold = self._untold, []
        there = next((name for name, edge in self._edges.items() if edge.ready), None)
        if there is not None and self._told != "found":
            event = "edge_worker_back" if self._told == "lost" else "edge_worker_found"
            self._told = "found"
            notes.append(Note("info", event, (("edge", there), ("model", self._model))))
        elif there is None and (self._told == "found" or (self._told == "nothing" and playing)):
            self._told = "lost" if self._told == "found" else "missing"
            reason = f"no edge worker serves model {self._model}: frames are answered on the device"
            notes.append(Note("warning", "no_edge_worker", (("reason", reason),)))
        return notes

    def _match(self, state: State) -> tuple[bool, bool]:
        """Return whether it serves our model, and whether with our cuts and codecs."""
        models, arms = state.models.split(","), state.arms.split(",")
        if self._model not in models:
            return False, False
        if len(arms) != len(models) or not state.arms:
            return True, True  # an older one does not say
        return True, arms[models.index(self._model)] == self._arms

    def _tell_of_stranger(self, state: State, *, serves: bool) -> None:
        """Say once of an edge worker that it is there but cannot serve us."""
        if state.id in self._strangers or len(self._strangers) >= LIMIT:
            return
        self._strangers.add(state.id)
        if serves:
            reason = (
                f"{state.id} serves model {self._model} with other cuts or codecs: "
                "same --codecs and same version of CANS on both sides?"
            )
            self._untold.append(Note("warning", "edge_worker_has_other_codecs", (("reason", reason),)))
            return
        # Whoever may announce a state writes this text: nothing but hashes goes to a person's terminal.
        hashes = [model for model in state.models.split(",") if model.isalnum()][:_HASHES_SHOWN]
        reason = (
            f"{state.id} serves another network ({', '.join(hashes) or 'none'}, not {self._model}): "
            "same --model, --weights and --weights-seed on both sides?"
        )
        self._untold.append(Note("warning", "edge_worker_serves_another_network", (("reason", reason),)))

    def _forget_one(self) -> bool:
        """Make room by forgetting an edge worker that is gone; False if all are there."""
        for name, edge in self._edges.items():
            if not edge.ready:
                del self._edges[name]
                return True
        return False
