"""What the first frames cost of a device that comes after the others have learned. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lab.simulator.summary import Report, interval
from lab.testbed.coordinator import Repetition
from lab.testbed.plan import Plan, TestDevice
from lab.testbed.report.ratios import Means, Ratio, ratio
from lab.testbed.report.tables import OURS, Named, named
from lab.testbed.results import turns_of

Interval = Mapping[str, Any]
"""Mean and 95 % interval, as `summary.json` has them."""
FIRST = (10, 20, 40)
"""Frames that count as the first ones; those of them that a newcomer plays."""
_JUDGED = 20


@dataclass(frozen=True, slots=True)
class FirstFrames:
    """One policy on a newcomer.

    Attributes:
        first_ms: mean latency of its first frames, for each number of them; None where none was answered.
        later_ms: of all after the largest number.
    """

    policy: Named
    first_ms: list[Interval | None]
    later_ms: Interval | None


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A device that was not there at first.

    Attributes:
        device: its name. joins: frames that others have played by then.
        first: numbers of frames that are looked at.
        rows: by policy.
        ratios: of `default` to each other policy that was played, over the first `judged` frames.
    """

    device: str
    joins: int
    first: list[int]
    rows: list[FirstFrames]
    judged: int
    ratios: list[Ratio]


def newcomers_of(plan: Plan, report: Report, repetitions: Sequence[Repetition]) -> list[Newcomer]:
    """Return all devices that come later, with what they met."""
    return [
        _newcomer(plan, device, [each for each in named(plan, report) if each.kind == "played"], repetitions)
        for device in plan.devices
        if device.joins_round
    ]


def _newcomer(
    plan: Plan, device: TestDevice, policies: Sequence[Named], repetitions: Sequence[Repetition]
) -> Newcomer:
    joins = device.joins_round * plan.testbed.block_frames
    plays = plan.world.frames - joins
    first = [frames for frames in FIRST if frames <= plays] or [plays]
    rows = [
        FirstFrames(
            policy,
            [_interval(_means(repetitions, policy.name, device.name, joins, joins + n)) for n in first],
            _interval(_means(repetitions, policy.name, device.name, joins + first[-1], plan.world.frames)),
        )
        for policy in policies
    ]
    judged = min(_JUDGED, plays)
    means = {
        each.name: _means(repetitions, each.name, device.name, joins, joins + judged) for each in policies
    }
    ratios = [
        ratio(OURS, means[OURS], name, other)
        for name, other in means.items()
        if OURS in means and name != OURS
    ]
    return Newcomer(device.name, joins, first, rows, judged, [each for each in ratios if each is not None])


def _means(repetitions: Sequence[Repetition], policy: str, device: str, first: int, end: int) -> Means:
    """Return the mean latency of frames of these numbers, by repetition."""
    found = {}
    for repetition in repetitions:
        total_ms = [
            row.stages["total"]
            for turn in turns_of(repetition, policy)
            if turn.device == device
            for row in turn.played.rows
            if first <= row.seq < end
        ]
        if total_ms:
            found[str(repetition.seed)] = float(np.mean(total_ms))
    return found


def _interval(means: Means) -> Interval | None:
    return interval(list(means.values())) if means else None


def first_words(found: Newcomer) -> str:
    """Return how `default` does on a newcomer, against everybody."""
    listed = ", ".join(
        f"{one.value:.3f} times {one.against}"
        + ("" if one.ci95 is None else f" ({one.ci95[0]:.3f} to {one.ci95[1]:.3f})")
        for one in found.ratios
    )
    return (
        f"in its first {found.judged} frames, {found.joins} frames after the others, {OURS} takes {listed}."
    )
