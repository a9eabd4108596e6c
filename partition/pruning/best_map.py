"""The map of arms: which is best at each link rate and edge speed-up, and what middle cuts are worth.

Areas are shares of the map as it is drawn, both axes logarithmic: a decade of rates counts as any other.
This file must never draw; `lab/arm_map_figure.py` does.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bus.errors import ConfigurationError
from partition.pruning.arm_costs import ArmCosts, Vector

# What a device does that never cuts: stays alone, or sends the input, however that is written.
_NOTHING_SENT = "end/none"
_INPUT_SENT = "0/"


@dataclass(frozen=True, slots=True, eq=False)
class BestMap:
    """Arms on a grid of S speed-ups and R rates.

    Attributes:
        rates, speedups: shapes (R,) and (S,), bit/s and edge over device, increasing.
        wait_s: of every offload.
        winners: shape (S, R), index of the fastest arm, the first of equals.
        latency_s: shape (S, R), of the winner.
        margin: shape (S, R), what the second takes more, relative to the winner; infinite without a second.
        area: shape (S, R), share of the map that a grid point stands for, 1 in all.
    """

    rates: Vector
    speedups: Vector
    wait_s: float
    winners: npt.NDArray[np.intp]
    latency_s: Vector
    margin: Vector
    area: Vector

    def shares(self) -> dict[int, float]:
        """Return the share of the map where each arm is best, largest first, without those that never are."""
        found = {int(arm): float(self.area[self.winners == arm].sum()) for arm in np.unique(self.winners)}
        return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))


@dataclass(frozen=True, slots=True, eq=False)
class MiddleGain:
    """What the other arms gain over the best of the given ends.

    Attributes:
        gain: shape (S, R), 1 - latency of the best middle arm / latency of the best end; below 0 where an
            end is faster.
        share: of the map where it is above 0.
        largest: the largest gain; may be below 0.
        rate, speedup: where.
        arm: which middle arm.
        middle_s, end_s: what it and the best end take there.
    """

    gain: Vector
    share: float
    largest: float
    rate: float
    speedup: float
    arm: int
    middle_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """An arm, best between two link rates (bit/s), at one speed-up."""

    arm: int
    low: float
    high: float


def ends_of(costs: ArmCosts) -> tuple[int, ...]:
    """Return the indices of the arms that cut nowhere, of those that there are."""
    return tuple(
        index
        for index, label in enumerate(costs.labels)
        if label == _NOTHING_SENT or label.startswith(_INPUT_SENT)
    )


def log_axis(low: float, high: float, count: int) -> Vector:
    """Return `count` points from `low` to `high`, evenly spaced in the logarithm; one if they are equal."""
    return np.unique(np.geomspace(low, high, count)) if low < high else np.array([low])


def best_map(costs: ArmCosts, rates: npt.ArrayLike, speedups: npt.ArrayLike, wait_s: float = 0.0) -> BestMap:
    """Return who wins where.

    Args:
        costs: of the arms, on one device.
        rates: bit/s, increasing, such as `numpy.geomspace(1e5, 1e8, 121)`.
        speedups: edge over device, increasing; below 1 is allowed here.
        wait_s: of every offload.

    Raises:
        ConfigurationError: axes that do not increase, or numbers no link or edge worker has.
    """
    rate, speedup = np.asarray(rates, dtype=float), np.asarray(speedups, dtype=float)
    for name, axis in (("rates", rate), ("speed-ups", speedup)):
        increasing = axis.ndim == 1 and axis.size > 0 and (np.diff(axis) > 0.0).all()
        if not (increasing and np.isfinite(axis).all() and axis[0] > 0.0):
            raise ConfigurationError(f"the {name} of a map must be finite, above 0 and increasing")
    if not 0.0 <= wait_s < np.inf:
        raise ConfigurationError(f"a wait of {wait_s:g} s will not do: give 0 or more")
    latency = costs.latency_s(rate[None, :], speedup[:, None], wait_s)
    winners = np.argmin(latency, axis=2)
    best = np.min(latency, axis=2)
    margin = np.full(best.shape, np.inf)
    if costs.count > 1:
        second = np.partition(latency, 1, axis=2)[:, :, 1]
        np.divide(second - best, best, out=margin, where=best > 0.0)
        margin[second == best] = 0.0
    area = _lengths(speedup)[:, None] * _lengths(rate)[None, :]
    return BestMap(rate, speedup, wait_s, winners, best, margin, area)


def middle_gain(costs: ArmCosts, on: BestMap, ends: Collection[int]) -> MiddleGain:
    """Compare all other arms with the best of `ends`, on the grid of a map.

    Args:
        costs: that the map was made of.
        on: the map.
        ends: indices, such as device only and the input as uint8, JPEG and WebP.

    Raises:
        ConfigurationError: no end, no middle arm, or an index that no arm has.
    """
    middle = [arm for arm in range(costs.count) if arm not in ends]
    if not middle or not ends or not set(ends) <= set(range(costs.count)):
        raise ConfigurationError(
            "a gain needs some arms as ends and some others: name ends that the arms hold"
        )
    latency = costs.latency_s(on.rates[None, :], on.speedups[:, None], on.wait_s)
    middle_s, end_s = latency[:, :, middle].min(axis=2), latency[:, :, sorted(ends)].min(axis=2)
    gain = 1.0 - np.divide(middle_s, end_s, out=np.ones_like(end_s), where=end_s > 0.0)
    row, column = np.unravel_index(int(np.argmax(gain)), gain.shape)
    return MiddleGain(
        gain=gain,
        share=float(on.area[gain > 0.0].sum()),
        largest=float(gain[row, column]),
        rate=float(on.rates[column]),
        speedup=float(on.speedups[row]),
        arm=middle[int(np.argmin(latency[row, column, middle]))],
        middle_s=float(middle_s[row, column]),
        end_s=float(end_s[row, column]),
    )


def stretches(
    costs: ArmCosts, rate: tuple[float, float], speedup: float, wait_s: float = 0.0
) -> tuple[Stretch, ...]:
    """Return who is best along all rates at one speed-up, slowest link first, to the exact crossing.

    Each arm is a line in seconds a bit; their lower envelope is walked from the fastest link on, where
    the next to win is, of all lines that rise less, the one that crosses first.
    """
    slope = 8.0 * costs.payload_bytes * costs.offload
    base = costs.front_s + costs.offload * wait_s + costs.edge_s / speedup
    at, end = 1.0 / rate[1], 1.0 / rate[0]
    # Of those equal at the fastest link, the one that rises least wins from there on.
    arm = int(np.lexsort((slope, base + slope * at))[0])
    found = []
    while True:
        lower = np.flatnonzero(slope < slope[arm])
        crossings = (base[lower] - base[arm]) / (slope[arm] - slope[lower])
        until = float(crossings.min()) if lower.size else np.inf
        found.append(Stretch(arm, 1.0 / min(max(until, at), end), 1.0 / at))
        if until >= end:
            return tuple(reversed(found))
        nearest = lower[crossings == until]
        at, arm = max(until, at), int(nearest[np.argmin(slope[nearest])])


def in_words(found: Sequence[Stretch], labels: Sequence[str], speedup: float) -> list[str]:
    """Return sentences such as "7/int8-zstd: best from 1.2 to 8 Mbit/s at speed-up 4"."""
    return [
        f"{labels[one.arm]}: best from {one.low / 1e6:.3g} to {one.high / 1e6:.3g} Mbit/s "
        f"at speed-up {speedup:g}"
        for one in found
    ]


def _lengths(axis: Vector) -> Vector:
    """Share of a logarithmic axis that is nearest to each point, 1 in all."""
    steps = np.diff(np.log(axis))
    if not steps.sum() > 0.0:  # one point, or several as close as numbers can be
        return np.full(axis.size, 1.0 / axis.size)
    lengths: Vector = (np.append(steps, 0.0) + np.insert(steps, 0, 0.0)) / 2.0 / steps.sum()
    return lengths
