"""How one policy's latency stands to another's: a ratio of means, paired by repetition. Pure.

Policies of one repetition meet the same frames and links, so repetitions are drawn whole: the interval is the
bootstrap's (BCa) of the ratio of means over repetitions. With fewer repetitions than `compare` takes there is
none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from lab.simulator.compare import LEAST_SEEDS
from lab.testbed.coordinator import Repetition
from lab.testbed.results import latencies, turns_of

Means = Mapping[str, float]
"""Seed to mean latency, ms."""
_RESAMPLES = 9999
_DUST = 1e-12


@dataclass(frozen=True, slots=True)
class Ratio:
    """A policy over another one.

    Attributes:
        own_ms, other_ms: means over the repetitions that both have.
        value: the first over the second; below 1 the policy is faster.
        ci95: of it; None where there are too few repetitions to know.
        seeds: how many repetitions.
    """

    policy: str
    against: str
    own_ms: float
    other_ms: float
    value: float
    ci95: tuple[float, float] | None
    seeds: int

    @property
    def verdict(self) -> str:
        """Say which way, and only as far as the interval carries."""
        if self.ci95 is None:
            return "unproven"
        if self.ci95[1] < 1.0:
            return "faster"
        return "slower" if self.ci95[0] > 1.0 else "level"


def ratio(policy: str, own: Means, against: str, other: Means) -> Ratio | None:
    """Return how the means stand to each other; None where no repetition has both."""
    seeds = [seed for seed in own if seed in other]
    if not seeds:
        return None
    first = np.array([own[seed] for seed in seeds])
    second = np.array([other[seed] for seed in seeds])
    value = float(first.mean() / second.mean())
    return Ratio(
        policy,
        against,
        float(first.mean()),
        float(second.mean()),
        value,
        _interval(first, second),
        len(seeds),
    )


def _interval(first: Any, second: Any) -> tuple[float, float] | None:  # noqa: ANN401 - vectors
    """Return the 95 % interval of the ratio of means."""
    if first.size < LEAST_SEEDS:
        return None
    each = first / second
    if np.ptp(each) <= _DUST * abs(each[0]):  # whatever is drawn, the ratio is this one; scipy would say nan
        return float(each[0]), float(each[0])
    found = stats.bootstrap(
        (first, second),
        lambda x, y, axis: np.mean(x, axis=axis) / np.mean(y, axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=_RESAMPLES,
        rng=np.random.default_rng(0),
    )
    low, high = found.confidence_interval
    return float(low), float(high)


def means_of(by_seed: Mapping[str, Mapping[str, Mapping[str, float]]], policy: str) -> Means:
    """Return a policy's mean latency of each repetition, as `summary.json` has it."""
    rows = by_seed.get(policy, {})
    return {seed: row["mean_ms"] for seed, row in rows.items() if "mean_ms" in row}


def means_on(repetitions: Sequence[Repetition], policy: str, device: str) -> Means:
    """Return a policy's mean latency of each repetition, on one device alone."""
    found = {}
    for repetition in repetitions:
        turns = [turn for turn in turns_of(repetition, policy) if turn.device == device]
        total_ms = latencies(turns)
        if total_ms.size:
            found[str(repetition.seed)] = float(total_ms.mean())
    return found


def mean_between(repetitions: Sequence[Repetition], policy: str, first: int, end: int) -> float | None:
    """Return a policy's mean latency over frames of these numbers, ms; None where none was answered."""
    total_ms = [
        row.stages["total"]
        for repetition in repetitions
        for turn in turns_of(repetition, policy)
        for row in turn.played.rows
        if first <= row.seq < end
    ]
    return sum(total_ms) / len(total_ms) if total_ms else None
