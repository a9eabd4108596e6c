"""Whether memory and latency stay as they are for hours: slopes with their intervals. Pure.

Samples are put into stretches first, because neighbours are alike and would make an interval too narrow; the
slope is the median of all pairs of stretches (Theil 1950, Sen 1968), so a minute's outage does not tilt it.
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
        at_s: since the repetition began. value: then.
    """

    name: str
    unit: str
    at_s: Vector
    value: Vector


@dataclass(frozen=True, slots=True)
class Trend:
    """How a quantity moves once things have settled.

    Attributes:
        name, unit: as `Course`.
        median: over stretches.
        an_hour, ci95: its slope and the 95 % interval of that, `unit` an hour; None where there are too few
            stretches.
    """

    name: str
    unit: str
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
        stretch_s: seconds that are one point of a trend.
        memory, latency: as they were sampled, and by stretch.
        trends: of both.
        load: of the whole machine; empty where it was not taken.
        cores: by process: processor seconds a second, from the first sample to the last.
    """

    seed: int
    settled_s: float
    stretch_s: float
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
    memory = [_memory(samples, name) for name in samples[0].held]
    latency = [
        each for policy in plan.policies for each in _latency(samples, policy, stretch_s, len(plan.policies))
    ]
    return Steadiness(
        repetition.seed,
        after_s,
        stretch_s,
        memory,
        latency,
        [_trend(each, after_s, stretch_s) for each in (*memory, *latency)],
        _load(samples),
        {name: _cores(samples, name) for name in samples[0].held},
    )


def _memory(samples: Sequence[Sample], name: str) -> Course:
    found = [(each.at_s, each.held[name].resident_bytes / _MIB) for each in samples if name in each.held]
    return Course(name, "MiB", *np.array(found).T)


def _load(samples: Sequence[Sample]) -> Course:
    found = [(each.at_s, each.load) for each in samples if each.load is not None]
    return Course("machine", "processes", *np.array(found, np.float64).reshape(-1, 2).T)


def _latency(samples: Sequence[Sample], policy: str, stretch_s: float, policies: int) -> list[Course]:
    """Return quantiles of latency by stretch, each at the middle of its samples."""
    stretches: dict[int, list[Sample]] = {}
    for sample in samples:
        if sample.policy == policy and sample.answered_ms:
            stretches.setdefault(int(sample.at_s / stretch_s), []).append(sample)
    at_s = np.array([np.mean([each.at_s for each in stretch]) for stretch in stretches.values()])
    of = f"{policy}, " if policies > 1 else "latency, "
    return [
        Course(
            of + name,
            "ms",
            at_s,
            np.array(
                [
                    np.quantile(np.concatenate([each.answered_ms for each in stretch]), share)
                    for stretch in stretches.values()
                ]
            ),
        )
        for name, share in _QUANTILES.items()
        if stretches
    ]


def _trend(course: Course, after_s: float, stretch_s: float) -> Trend:
    settled = course.at_s > after_s
    at_s, value = course.at_s[settled], course.value[settled]
    stretch = (at_s / stretch_s).astype(int)
    numbers = np.unique(stretch)
    x = np.array([at_s[stretch == number].mean() for number in numbers])
    y = np.array([np.median(value[stretch == number]) for number in numbers])
    median = float(np.median(y if y.size else course.value))
    if y.size < LEAST_STRETCHES:
        return Trend(course.name, course.unit, median, None, None)
    slope, _, low, high = (float(each) for each in stats.theilslopes(y, x, alpha=0.95))
    return Trend(course.name, course.unit, median, _HOUR_S * slope, (_HOUR_S * low, _HOUR_S * high))


def _cores(samples: Sequence[Sample], name: str) -> float:
    found = [(each.at_s, each.held[name].cpu_s) for each in samples if name in each.held]
    (first_s, first), (last_s, last) = found[0], found[-1]
    return (last - first) / (last_s - first_s) if last_s > first_s else 0.0


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
        f"{listed}. Slopes by Theil and Sen over stretches of {found.stretch_s:.0f} s from second "
        f"{found.settled_s:.0f} on, with 95 % intervals; flat is an interval within "
        f"{100.0 * MOST_AN_HOUR[trends[0].unit]:g} % of the median."
    )
