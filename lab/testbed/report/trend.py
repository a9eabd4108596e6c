"""Whether memory and latency stay as they are for hours: slopes with their intervals. Pure.

Samples are put into stretches first, because neighbours are alike and would make an interval too narrow; the
slope is the median of all pairs of stretches (Theil 1950, Sen 1968), so a minute's outage does not tilt it.
Where links repeat, a stretch of latency is one repeat: all have met the same, and what differs is the system.
"Flat" is a claim that must be shown: the whole interval lies within so much of the median per hour.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from lab.testbed.coordinator import Repetition
from lab.testbed.plan import Plan
from lab.testbed.samples import Sample

Vector = npt.NDArray[np.float64]
MOST_AN_HOUR = {"MiB": 0.05, "ms": 0.10}
"""By unit, share of the median: what moves less than that in an hour is flat. Links move; memory need not."""
LEAST_STRETCHES = 8
_STRETCH_S = 300.0
_QUANTILES = {"p50": 0.5, "p95": 0.95}
_HOUR_S = 3600.0
_MIB = 2.0**20


@dataclass(frozen=True, slots=True)
class Course:
    """One quantity over time.

    Attributes:
        name: of the process, or which latency. unit: of `value`.
        at_s: since the repetition began. value: then. Both (n,).
        stretch: in which one that is, (n,).
        over: what a stretch is, in words.
    """

    name: str
    unit: str
    at_s: Vector
    value: Vector
    stretch: npt.NDArray[np.int64]
    over: str


@dataclass(frozen=True, slots=True)
class Trend:
    """How a quantity moves once things have settled.

    Attributes:
        name, unit: as `Course`.
        over: what is one point of it, in words.
        median: over those.
        an_hour, ci95: its slope and the 95 % interval of that, `unit` an hour; None where there are too few
            stretches.
    """

    name: str
    unit: str
    over: str
    median: float
    an_hour: float | None
    ci95: tuple[float, float] | None

    @property
    def verdict(self) -> str:
        """Say what the interval carries."""
        if self.ci95 is None:
            return "too short to know"
        low, high = self.ci95
        most = MOST_AN_HOUR[self.unit] * abs(self.median)
        if -most <= low and high <= most:
            return "flat"
        if low > 0.0:
            return "grows"
        return "falls" if high < 0.0 else "not shown to be flat"


@dataclass(frozen=True, slots=True)
class Steadiness:
    """One repetition.

    Attributes:
        seed: of it.
        settled_s: from where on trends count.
        memory, latency: as they were sampled, and by stretch.
        trends: of both.
        load: of the whole machine; empty where it was not taken.
        cores: by process: processor seconds a second, from the first sample to the last.
    """

    seed: int
    settled_s: float
    memory: list[Course]
    latency: list[Course]
    trends: list[Trend]
    load: Course
    cores: dict[str, float]


def steadiness_of(plan: Plan, repetitions: Sequence[Repetition]) -> list[Steadiness]:
    """Return it for each repetition that was sampled, if the experiment asks for it."""
    after_s = plan.testbed.trend_after_s
    if after_s is None:
        return []
    return [_of(plan, each, after_s) for each in repetitions if each.samples]


def _of(plan: Plan, repetition: Repetition, after_s: float) -> Steadiness:
    samples = repetition.samples
    # A run that is cut short, to try it out, still has points to draw.
    stretch_s = min(_STRETCH_S, max(1.0, samples[-1].at_s - after_s) / LEAST_STRETCHES)
    memory = [_memory(samples, name, stretch_s) for name in samples[0].held]
    latency = [each for policy in plan.policies for each in _latency(plan, samples, policy, stretch_s)]
    return Steadiness(
        repetition.seed,
        after_s,
        memory,
        latency,
        [_trend(each, after_s) for each in (*memory, *latency)],
        _load(samples),
        {name: _cores(samples, name) for name in samples[0].held},
    )


def _memory(samples: Sequence[Sample], name: str, stretch_s: float) -> Course:
    found = [(each.at_s, each.held[name].resident_bytes / _MIB) for each in samples if name in each.held]
    at_s, value = np.array(found).T
    return Course(name, "MiB", at_s, value, _numbered(at_s, stretch_s), _seconds(stretch_s))


def _load(samples: Sequence[Sample]) -> Course:
    found = [(each.at_s, each.load) for each in samples if each.load is not None]
    at_s, value = np.array(found, np.float64).reshape(-1, 2).T
    return Course("machine", "processes", at_s, value, _numbered(at_s, _STRETCH_S), _seconds(_STRETCH_S))


def _numbered(at_s: Vector, stretch_s: float) -> npt.NDArray[np.int64]:
    numbers: npt.NDArray[np.int64] = (at_s / stretch_s).astype(np.int64)
    return numbers


def _seconds(stretch_s: float) -> str:
    return f"stretches of {stretch_s:.0f} s"


def _latency(plan: Plan, samples: Sequence[Sample], policy: str, stretch_s: float) -> list[Course]:
    """Return quantiles of latency by stretch, each at the middle of its samples."""
    mine = [sample for sample in samples if sample.policy == policy and sample.answered_ms]
    if not mine:
        return []
    repeat_s = plan.world.links_repeat_s
    repeats = np.full(len(mine), -1) if repeat_s is None else _repeat(plan, mine, repeat_s)
    if (
        repeat_s is None or (repeats < 0).all()
    ):  # cut short before one was whole: there are points all the same
        stretch, over = _numbered(np.array([each.at_s for each in mine]), stretch_s), _seconds(stretch_s)
    else:
        stretch, over = repeats, f"repeats of the links' {repeat_s} s"
    numbers = np.unique(stretch[stretch >= 0])
    parts = [[mine[i] for i in np.flatnonzero(stretch == number)] for number in numbers]
    at_s = np.array([np.mean([each.at_s for each in part]) for part in parts])
    answered = [np.concatenate([each.answered_ms for each in part]) for part in parts]
    of = f"{policy}, " if len(plan.policies) > 1 else "latency, "
    return [
        Course(
            of + name, "ms", at_s, np.array([np.quantile(each, share) for each in answered]), numbers, over
        )
        for name, share in _QUANTILES.items()
    ]


def _repeat(plan: Plan, samples: Sequence[Sample], repeat_s: int) -> npt.NDArray[np.int64]:
    """Return in which repeat of the links a sample's block began; -1 in the last one if it was cut short."""
    frames = plan.testbed.block_frames * np.array([sample.round for sample in samples])
    each = repeat_s * plan.world.fps
    found = (frames / each).astype(np.int64)
    played = int(frames.max()) + plan.testbed.block_frames
    found[(found + 1) * each > played] = -1
    return found


def _trend(course: Course, after_s: float) -> Trend:
    settled = course.at_s > after_s
    at_s, value, stretch = course.at_s[settled], course.value[settled], course.stretch[settled]
    numbers = np.unique(stretch)
    x = np.array([at_s[stretch == number].mean() for number in numbers])
    y = np.array([np.median(value[stretch == number]) for number in numbers])
    if y.size < LEAST_STRETCHES:
        median = float(np.median(y if y.size else course.value))
        return Trend(course.name, course.unit, course.over, median, None, None)
    slope, _, low, high = (float(each) for each in stats.theilslopes(y, x, alpha=0.95))
    an_hour, ci95 = _HOUR_S * slope, (_HOUR_S * low, _HOUR_S * high)
    return Trend(course.name, course.unit, course.over, float(np.median(y)), an_hour, ci95)


def _cores(samples: Sequence[Sample], name: str) -> float:
    found = [(each.at_s, each.held[name].cpu_s) for each in samples if name in each.held]
    (first_s, first), (last_s, last) = found[0], found[-1]
    return (last - first) / (last_s - first_s) if last_s > first_s else 0.0


def latency_over(found: Steadiness) -> str:
    """Return what one point of its latency is, in words."""
    return found.latency[0].over if found.latency else "nothing, since nothing was answered"


def change_words(trend: Trend) -> str:
    """Return a trend's change an hour with its interval."""
    if trend.an_hour is None or trend.ci95 is None:
        return "not known"
    low, high = trend.ci95
    return f"{trend.an_hour:+.2f} {trend.unit} ({low:+.2f} to {high:+.2f})"


def trend_words(found: Steadiness, trends: Sequence[Trend]) -> str:
    """Return trends in a sentence."""
    listed = "; ".join(
        f"{trend.name} {trend.median:,.0f} {trend.unit}, {change_words(trend)} an hour, {trend.verdict}"
        for trend in trends
    )
    return (
        f"{listed}. Slopes by Theil and Sen over {trends[0].over} from second "
        f"{found.settled_s:.0f} on, with 95 % intervals; flat is an interval within "
        f"{100.0 * MOST_AN_HOUR[trends[0].unit]:g} % of the median."
    )
