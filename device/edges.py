"""The edge workers that serve our model, as their retained states tell.

States may come twice, late and out of order: the boot counter tells the will of a dead process from the
word of the living one.
This file must never decide how long a request waits.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from bus.messages import State
from device.choose_edge import choose_edge

# A broker open to anyone lets anyone announce edge workers; more than these are not remembered.
LIMIT = 64
# How long an edge worker is left alone after it said that it cannot serve us.
REST_S = 5.0


@dataclass(frozen=True, slots=True)
class _Edge:
    boot: int
    ready: bool
    load: float
    resting_until: float = 0.0


class Edges:
    """Who can be asked.

    Args:
        model: hash that an edge worker must announce.
        draw: uniform numbers in [0, 1).
    """

    def __init__(self, model: str, draw: Callable[[], float]) -> None:
        self._model = model
        self._draw = draw
        self._edges: dict[str, _Edge] = {}

    def announced(self, state: State) -> bool:
        """Take in a state; True if that edge worker can no longer answer what it was asked."""
        known = self._edges.get(state.id)
        if known is not None and state.boot < known.boot:
            return False
        ready = state.state == "ready" and self._model in state.models.split(",")
        if known is None and not ready:
            return False
        if known is None and len(self._edges) >= LIMIT and not self._forget_one():
            return False
        # A new boot has forgotten what the old one was asked.
        gone = known is not None and known.ready and (not ready or state.boot > known.boot)
        rested = known is None or state.boot > known.boot
        resting_until = 0.0 if rested or known is None else known.resting_until
        self._edges[state.id] = _Edge(state.boot, ready, state.load, resting_until)
        return gone

    def load_seen(self, edge: str, load: float) -> None:
        """Take in the load that an answer carried, which is fresher than the announced one."""
        if edge in self._edges:
            self._edges[edge] = replace(self._edges[edge], load=load)

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

    def _forget_one(self) -> bool:
        """Make room by forgetting an edge worker that is gone; False if all are there."""
        for name, edge in self._edges.items():
            if not edge.ready:
                del self._edges[name]
                return True
        return False
