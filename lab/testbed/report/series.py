"""What the figures of a report draw: frames in their order, rates beneath them, choices. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lab.simulator.summary import Report
from lab.testbed.coordinator import Repetition
from lab.testbed.plan import Plan
from lab.testbed.report.tables import OURS, RIVAL, SIMPLE, Named, named
from lab.testbed.results import latencies, turns_of

Vector = npt.NDArray[np.float64]
_DRAWN = 6
_LIKED = (OURS, RIVAL, *SIMPLE)
"""Whom to draw before others."""
_COLUMNS = 60
_POINTS = 400


@dataclass(frozen=True, slots=True)
class Frames:
    """Answered frames of one policy on one device in one repetition.

    Attributes:
        number: of the frame. ms: capture to answer. lost: numbers of frames without an answer.
    """

    number: Vector
    ms: Vector
    lost: Vector


@dataclass(frozen=True, slots=True)
class Choices:
    """What one policy played.

    Attributes:
        frame: middle of a stretch of frames. arm: label. share: of the answered frames of that stretch.
    """

    frame: list[float]
    arm: list[str]
    share: list[float]


def drawn(plan: Plan, report: Report) -> list[Named]:
    """Return the policies that curves are drawn of: no more than can be told apart."""
    played = {each.name: each for each in named(plan, report) if each.kind == "played"}
    order = [*(name for name in _LIKED if name in played), *played]
    return [played[name] for name in dict.fromkeys(order)][:_DRAWN]


def frames_of(repetition: Repetition, policy: str, device: str) -> Frames:
    """Return what one device lived through under a policy."""
    turns = [turn for turn in turns_of(repetition, policy) if turn.device == device]
    rows = [row for turn in turns for row in turn.played.rows]
    return Frames(
        np.array([float(row.seq) for row in rows]),
        np.array([row.stages["total"] for row in rows]),
        np.array([float(seq) for turn in turns for seq in turn.played.lost]),
    )


def thinned(x: Vector, y: Vector) -> tuple[Vector, Vector]:
    """Return means of neighbours where there are more points than a figure has room for."""
    if x.size <= _POINTS:
        return x, y
    parts = np.array_split(np.arange(x.size), _POINTS)
    return np.array([x[part].mean() for part in parts]), np.array([y[part].mean() for part in parts])


def rates(plan: Plan, trace: Sequence[float], device: int) -> tuple[Vector, Vector]:
    """Return frame numbers, and Mbit/s of the uplink when each is due at the earliest.

    A block begins where its first frame is due in the trace, whoever plays; a trace repeats itself.
    """
    size, fps = plan.testbed.block_frames, plan.world.fps
    number = np.arange(plan.world.frames)
    own_fps = plan.devices[device].kind.fps or fps
    at_s = (number // size) * size / fps + (number % size) / own_fps
    found = np.asarray(trace)[at_s.astype(int) % len(trace)]
    return thinned(number.astype(np.float64), found)


def by_frame(repetitions: Sequence[Repetition], policy: str) -> tuple[Vector, Vector]:
    """Return frame numbers, and the mean over repetitions and devices of the latency of each, ms."""
    sums: dict[int, list[float]] = {}
    for repetition in repetitions:
        for turn in turns_of(repetition, policy):
            for row in turn.played.rows:
                sums.setdefault(row.seq, []).append(row.stages["total"])
    number = np.array(sorted(sums), dtype=np.float64)
    return thinned(number, np.array([np.mean(sums[int(each)]) for each in number]))


def distribution(repetitions: Sequence[Repetition], policy: str) -> tuple[Vector, Vector]:
    """Return latencies in order, ms, and the share of all frames answered by then: lost ones never are."""
    turns = [turn for repetition in repetitions for turn in turns_of(repetition, policy)]
    total_ms = np.sort(latencies(turns))
    frames = total_ms.size + sum(len(turn.played.lost) for turn in turns)
    share = np.arange(1, total_ms.size + 1) / max(1, frames)
    if total_ms.size > _POINTS:
        kept = np.unique(np.linspace(0, total_ms.size - 1, _POINTS).astype(int))
        total_ms, share = total_ms[kept], share[kept]
    return total_ms, share


def choices(plan: Plan, repetitions: Sequence[Repetition], policy: str, device: str) -> Choices:
    """Return how often each arm was played as time went by, over all repetitions."""
    width = max(1, -(-plan.world.frames // _COLUMNS))
    counts: dict[int, dict[str, int]] = {}
    for repetition in repetitions:
        for turn in turns_of(repetition, policy):
            for row in turn.played.rows if turn.device == device else ():
                column = counts.setdefault(row.seq // width, {})
                column[row.arm] = column.get(row.arm, 0) + 1
    found = Choices([], [], [])
    for number, column in sorted(counts.items()):
        for arm, count in column.items():
            found.frame.append((number + 0.5) * width - 0.5)
            found.arm.append(arm)
            found.share.append(count / sum(column.values()))
    return found


def arms_in_order(repetitions: Sequence[Repetition], used: Sequence[str]) -> list[str]:
    """Return the arms that were used, from the picture to the whole network, as devices list them."""
    known: Mapping[str, None] = dict.fromkeys(
        arm for repetition in repetitions for joined in repetition.joined.values() for arm in joined.arms
    )
    return [arm for arm in [*known, *(arm for arm in used if arm not in known)] if arm in set(used)]
