"""What a policy lost when something broke, and how long it took to be back. Pure.

Devices tell no times of day, so when a frame was taken is computed: a block's first one at its device's place
in the period, each other one a period after the last, or with its answer where that came later.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lab.simulator import spec
from lab.simulator.summary import Report, interval
from lab.testbed.coordinator import Repetition, Turn
from lab.testbed.orders import Row
from lab.testbed.plan import Plan
from lab.testbed.report.tables import Named, named
from lab.testbed.results import turns_of

BACK_WITHIN = 1.2
"""Times the median before: a device is back with the first frame from which on the median is no more."""
BACK_FRAMES = 5
"""Of so many frames."""


@dataclass(frozen=True, slots=True)
class Aftermath:
    """One policy after one event, over all devices and repetitions.

    Attributes:
        frames: under way when it broke, or taken later in that block.
        lost: of them, without an answer. alone: answered by the device itself.
        worst_ms: the longest of them; None where none was answered.
        before_ms: median of the block's frames before.
        back_frames: how many frames came before it was back, mean and interval over repetitions; None where
            nobody can tell.
        never: devices, of all repetitions, that were not back in the frames that followed.
        judged: devices of all repetitions, of which that is told.
    """

    policy: Named
    frames: int
    lost: int
    alone: int
    worst_ms: float | None
    before_ms: float | None
    back_frames: Mapping[str, Any] | None
    never: int
    judged: int


@dataclass(frozen=True, slots=True)
class Happened:
    """An event and what came of it."""

    event: spec.Event
    title: str
    rows: list[Aftermath]


@dataclass(frozen=True, slots=True)
class _Taken:
    """A frame: seconds into its block when it was taken and when it was done with; its row, None if lost."""

    at_s: float
    ends_s: float
    row: Row | None

    @property
    def total_ms(self) -> float:
        return float("inf") if self.row is None else self.row.stages["total"]


class _Film:
    """A repetition whose frames have times.

    Args:
        plan: what was played. repetition: how it went.
    """

    def __init__(self, plan: Plan, repetition: Repetition) -> None:
        self.seed = repetition.seed
        self._plan = plan
        self._repetition = repetition
        names = [device.name for device in plan.devices]
        self._phases_s = dict(zip(names, plan.phases_s(repetition.seed), strict=True))
        self._periods_s = {each.name: 1.0 / (each.kind.fps or plan.world.fps) for each in plan.devices}

    def turns(self, policy: str, number: int) -> list[Turn]:
        """Return a policy's turns of a round, a device each."""
        return [turn for turn in turns_of(self._repetition, policy) if turn.round == number]

    def taken(self, turn: Turn) -> Iterator[_Taken]:
        """Yield the frames of a turn."""
        rows = {row.seq: row for row in turn.played.rows}
        at_s = self._phases_s[turn.device]
        for seq in sorted([*rows, *map(int, turn.played.lost)]):
            row = rows.get(seq)
            took_ms = self._plan.world.deadline_ms if row is None else row.stages["total"]
            yield _Taken(at_s, at_s + 1e-3 * took_ms, row)
            at_s += max(self._periods_s[turn.device], 1e-3 * took_ms)

    def later(self, turn: Turn) -> Iterator[_Taken]:
        """Yield a device's frames of the rounds after a turn, until something else breaks."""
        breaks = {event.round for event in self._plan.testbed.events}
        for number in range(turn.round + 1, self._plan.rounds):
            if number in breaks:
                return
            for later in self.turns(turn.policy, number):
                if later.device == turn.device:
                    yield from self.taken(later)


def aftermaths_of(plan: Plan, report: Report, repetitions: Sequence[Repetition]) -> list[Happened]:
    """Return all events of the plan, with what came of them."""
    policies = [each for each in named(plan, report) if each.kind != "estimated"]
    films = [_Film(plan, each) for each in repetitions if plan.testbed.events]
    return [
        Happened(event, title_of(event), [_aftermath(event, each, films) for each in policies])
        for event in plan.testbed.events
    ]


def title_of(event: spec.Event) -> str:
    """Return an event in words."""
    words = {
        "link_gone": f"every link carries nothing for {event.for_s:g} s",
        "edge_killed": f"the edge worker is killed, and started again {event.for_s:g} s later",
        "broker_restarted": f"the broker is stopped, and started again {event.for_s:g} s later",
    }
    return f"{words[event.what]} (round {event.round + 1}, {event.at_s:g} s into each block)"


def _aftermath(event: spec.Event, policy: Named, films: Sequence[_Film]) -> Aftermath:
    hit: list[_Taken] = []
    before: list[float] = []
    back: dict[int, list[int]] = {}
    never = judged = 0
    for film in films:
        for turn in film.turns(policy.name, event.round):
            earlier, block = _split(list(film.taken(turn)), event)
            hit += block
            before += earlier
            found = _back(earlier, [*block, *film.later(turn)])
            judged += bool(earlier)
            never += bool(earlier) and found is None
            if found is not None:
                back.setdefault(film.seed, []).append(found)
    answered = [taken.row for taken in hit if taken.row is not None]
    return Aftermath(
        policy,
        frames=len(hit),
        lost=len(hit) - len(answered),
        alone=sum(row.by != "edge" for row in answered),
        worst_ms=max((row.stages["total"] for row in answered), default=None),
        before_ms=float(np.median(before)) if before else None,
        back_frames=interval([float(np.mean(each)) for each in back.values()]) if back else None,
        never=never,
        judged=judged,
    )


def _split(taken: Sequence[_Taken], event: spec.Event) -> tuple[list[float], Sequence[_Taken]]:
    """Return the latencies of what was answered before an event, and the frames that met it or came later."""
    met = [each.ends_s > event.at_s for each in taken]
    first = met.index(True) if True in met else len(taken)
    return [each.total_ms for each in taken[:first] if each.row is not None], taken[first:]


def _back(before_ms: Sequence[float], after: Sequence[_Taken]) -> int | None:
    """Return how many frames came before latency was back where it was; None where it never was."""
    if not before_ms:
        return None
    limit = BACK_WITHIN * float(np.median(before_ms))
    total_ms = [each.total_ms for each in after]
    for place in range(len(total_ms)):
        window = total_ms[place : place + BACK_FRAMES]
        if total_ms[place] <= limit and float(np.median(window)) <= limit:
            return place
    return None


def back_words(row: Aftermath) -> str:
    """Return after how many frames a policy was back."""
    if row.back_frames is None:
        return "never" if row.judged else "not known"
    mean, ci95 = row.back_frames["mean"], row.back_frames["ci95"]
    words = f"{mean:.1f}" + (f" ({ci95[0]:.1f} to {ci95[1]:.1f})" if ci95 else "")
    return words + (f", never on {row.never} of {row.judged}" if row.never else "")


def happened_words(found: Happened) -> str:
    """Return an event and what came of it, in a sentence."""
    listed = "; ".join(
        f"{row.policy.label} {back_words(row)}" + (f", {row.lost} frames lost" if row.lost else "")
        for row in found.rows
    )
    return f"{found.title}. Frames until latency was back: {listed}."
