"""Which arms can be best somewhere, and for each of the others a proof that it cannot.

An arm is dropped only if, at every link rate, speed-up and wait within stated ranges, some arm that stays is
faster by more than a tolerance. The proof of that is a handful of weights (`Proof`) which anybody can check
with a few additions; the solver that finds them need not be trusted. docs/pruning.md has the theorem.
This file must never drop an arm without such a proof: where in doubt the arm stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from scipy.optimize import linprog

from bus.errors import ConfigurationError
from partition.pruning.arm_costs import ArmCosts, Ranges, Vector

Rule = Literal["envelope", "single"]
DEFAULT_TOLERANCE = 0.05
_GRID = 11  # points along rate and speed-up where arms are looked at before a program is solved
_NO_WEIGHT = 1e-12  # of a rival that the solver left out


@dataclass(frozen=True, slots=True)
class Point:
    """One place within the ranges: bit/s, edge over device, seconds."""

    rate: float
    speedup: float
    wait_s: float


@dataclass(frozen=True, slots=True)
class Kept:
    """An arm that stays, and a place that shows why.

    Attributes:
        arm: index.
        at: where it comes closest to being best, of the places that were looked at.
        excess: there, over the fastest other arm, relative; below 0 where it is itself the fastest.
    """

    arm: int
    at: Point
    excess: float


@dataclass(frozen=True, slots=True)
class Proof:
    """Why an arm is dropped: the weighted mean of `rivals`, times 1 + tolerance, is nowhere above it.

    So at each place at least one rival is, with the tolerance, at most as slow.

    Attributes:
        arm: index of what is dropped.
        rivals: indices of arms that stay.
        weights: of the rivals, positive, in any scale.
        tightest: where the arm comes closest to the tolerance.
        faster: the fastest rival there.
        margin_s: the arm's latency there, less that rival's.
        margin: the same, relative to that rival's; at least the tolerance.
    """

    arm: int
    rivals: tuple[int, ...]
    weights: tuple[float, ...]
    tightest: Point
    faster: int
    margin_s: float
    margin: float


@dataclass(frozen=True, slots=True)
class Pruned:
    """All arms, in two heaps.

    Attributes:
        kept: in the order of their indices.
        dropped: in the order of their indices.
        tolerance: how close to the fastest an arm may be without being dropped, relative.
        ranges: what holds for these ranges only.
    """

    kept: tuple[Kept, ...]
    dropped: tuple[Proof, ...]
    tolerance: float
    ranges: Ranges

    @property
    def arms(self) -> tuple[int, ...]:
        """Indices of the arms that stay."""
        return tuple(one.arm for one in self.kept)


def surviving(
    costs: ArmCosts, ranges: Ranges, *, tolerance: float = DEFAULT_TOLERANCE, rule: Rule = "envelope"
) -> Pruned:
    """Drop the arms that are nowhere best, nor within `tolerance` of the best.

    Args:
        costs: of all arms, on one device.
        ranges: of link, edge worker and wait.
        tolerance: relative; costs wrong by a factor of up to 1 +- tolerance / (2 + tolerance) change nothing.
            With 0, of arms that are equal the first stays.
        rule: "envelope" drops what is beaten everywhere, here by one arm and there by another; "single" only
            what one arm beats everywhere.

    Raises:
        ConfigurationError: a tolerance that is negative or not finite.
    """
    if not 0.0 <= tolerance < np.inf:
        raise ConfigurationError(f"the tolerance {tolerance:g} will not do: give 0 or more, such as 0.05")
    search = _Search(costs, ranges, tolerance, rule)
    kept = _seen_near_the_best(costs, ranges, tolerance)
    left = set(range(costs.count))
    proofs: dict[int, Proof] = {}
    for arm in reversed(range(costs.count)):
        if arm not in kept:
            found = search.judge(arm, sorted(left - {arm}))
            if isinstance(found, Proof):
                proofs[arm] = found
                left.remove(arm)
            else:
                kept[arm] = found
    for arm, proof in proofs.items():
        if not left.issuperset(proof.rivals):
            # Once more, against arms that stay: everywhere the fastest of them is as fast as that of all.
            found = search.judge(arm, sorted(left))
            if isinstance(found, Proof):
                proofs[arm] = found
            else:
                kept[arm] = found
                left.add(arm)
    dropped = tuple(proofs[arm] for arm in range(costs.count) if arm not in left)
    return Pruned(tuple(kept[arm] for arm in sorted(left)), dropped, tolerance, ranges)


def holds(proof: Proof, costs: ArmCosts, ranges: Ranges, tolerance: float) -> bool:
    """Whether a proof proves what it says: exact arithmetic on the coefficients, without a solver."""
    return _never_below(coefficients(costs, ranges), proof.arm, proof.rivals, proof.weights, tolerance)


def coefficients(costs: ArmCosts, ranges: Ranges) -> Vector:
    """Return shape (K, 4): latency at the best corner of the box, and what each axis adds at its far end.

    latency(x) = c_0 + c_1 x_1 + c_2 x_2 + c_3 x_3 for x in [0, 1]^3, none of them negative; the axes are
    1/rate from the fastest link on, 1/speedup from the fastest edge worker on, the wait from the shortest on.
    """
    slopes = np.stack([8.0 * costs.payload_bytes, costs.edge_s, costs.offload.astype(float)], axis=1)
    low, high = _corners(ranges)
    return np.column_stack([costs.front_s + slopes @ low, slopes * (high - low)])


class _Search:
    """Looks for proofs about one set of arms."""

    def __init__(self, costs: ArmCosts, ranges: Ranges, tolerance: float, rule: Rule) -> None:
        self._ranges = ranges
        self._tolerance = tolerance
        self._rule = rule
        self._table = coefficients(costs, ranges)
        # The smallest latency there is: the solver's own tolerance, an absolute one, becomes relative to it.
        positive = self._table[:, 0][self._table[:, 0] > 0.0]
        self._unit_s = float(positive.min()) if positive.size else 1.0

    def judge(self, arm: int, rivals: Sequence[int]) -> Proof | Kept:
        """Return a proof that `rivals` beat `arm`; where none is found, where it comes closest to them."""
        if not rivals:
            return self._kept(arm, np.zeros(3))
        differences = self._differences(arm, rivals)
        most = differences[:, 0] + np.maximum(differences[:, 1:], 0.0).sum(axis=1)
        first = int(np.argmin(most))
        proof = self._checked(arm, [rivals[first]], [1.0], (differences[first, 1:] > 0.0).astype(float))
        if proof is not None:
            return proof
        place, weights = self._solve(differences)
        used = np.flatnonzero(weights > _NO_WEIGHT).tolist()
        if self._rule == "envelope" and used:
            proof = self._checked(arm, [rivals[k] for k in used], weights[used].tolist(), place)
        return self._kept(arm, place) if proof is None else proof

    def _differences(self, arm: int, rivals: Sequence[int]) -> Vector:
        """Coefficients (R, 4) of what each rival, with the tolerance, takes more than `arm`."""
        differences: Vector = (1.0 + self._tolerance) * self._table[list(rivals)] - self._table[arm]
        return differences

    def _solve(self, differences: Vector) -> tuple[Vector, Vector]:
        """Return the place where the least difference is greatest, and the weights that bound it from above.

        maximise t over x in [0, 1]^3, subject to t <= d_k0 + d_k x for each rival k; the dual variables are
        weights of the rivals that sum to 1. Where the solver gives up there are no weights, hence no proof.
        """
        scaled = differences / self._unit_s
        result = linprog(
            [0.0, 0.0, 0.0, -1.0],
            A_ub=np.column_stack([-scaled[:, 1:], np.ones(len(scaled))]),
            b_ub=scaled[:, 0],
            bounds=[(0.0, 1.0)] * 3 + [(None, None)],
            method="highs-ds",
        )
        if not result.success:
            return np.zeros(3), np.zeros(len(scaled))
        return np.clip(result.x[:3], 0.0, 1.0), -result.ineqlin.marginals

    def _checked(
        self, arm: int, rivals: Sequence[int], weights: Sequence[float], place: Vector
    ) -> Proof | None:
        """Return the proof if it is one."""
        if not _never_below(self._table, arm, rivals, weights, self._tolerance):
            return None
        latency = self._at(place)
        faster = min(rivals, key=lambda rival: float(latency[rival]))
        mine, its = float(latency[arm]), float(latency[faster])
        return Proof(
            arm,
            tuple(rivals),
            tuple(weights),
            self._point(place),
            faster,
            mine - its,
            _excess(mine, its),
        )

    def _kept(self, arm: int, place: Vector) -> Kept:
        latency = self._at(place)
        rival = min(np.delete(latency, arm), default=np.inf)
        return Kept(arm, self._point(place), _excess(float(latency[arm]), float(rival)))

    def _at(self, place: Vector) -> Vector:
        latency: Vector = self._table[:, 0] + self._table[:, 1:] @ place
        return latency

    def _point(self, place: Vector) -> Point:
        low, high = _corners(self._ranges)
        u, v, wait_s = (low + (high - low) * place).tolist()
        return Point(1.0 / u, 1.0 / v, wait_s)


def _never_below(
    table: Vector, arm: int, rivals: Sequence[int], weights: Sequence[float], tolerance: float
) -> bool:
    """Whether (1 + tolerance) times the weighted mean of rivals is at most `arm` on the whole box.

    A linear function is greatest on a box where each axis takes the end that its slope points to.
    """
    exact = [Fraction(weight) for weight in weights]
    total = sum(exact)
    if total <= 0 or min(exact) < 0:
        return False
    factor = (1 + Fraction(tolerance)) / total
    difference = [
        factor * sum(w * Fraction(float(table[rival, j])) for w, rival in zip(exact, rivals, strict=True))
        - Fraction(float(table[arm, j]))
        for j in range(table.shape[1])
    ]
    return difference[0] + sum(max(slope, Fraction(0)) for slope in difference[1:]) <= 0


def _seen_near_the_best(costs: ArmCosts, ranges: Ranges, tolerance: float) -> dict[int, Kept]:
    """Return the arms that a grid of places already shows to stay: most of them, at little cost."""
    rates, speedups, waits = np.meshgrid(
        np.geomspace(*ranges.rate, _GRID), np.geomspace(*ranges.speedup, _GRID), ranges.wait_s
    )
    places = np.stack([rates.ravel(), speedups.ravel(), waits.ravel()], axis=1)
    latency = costs.latency_s(*places.T)
    # The fastest of the others: the fastest, and for that one itself the second.
    two = np.sort(np.pad(latency, ((0, 0), (0, 1)), constant_values=np.inf), axis=1)[:, :2]
    rival = np.where(latency == two[:, :1], two[:, 1:], two[:, :1])
    excess = np.full(latency.shape, np.inf)
    np.divide(latency, rival, out=excess, where=rival > 0.0)
    excess = np.where(latency == rival, 0.0, excess - 1.0)
    closest = np.argmin(excess, axis=0)
    return {
        arm: Kept(arm, Point(*places[place].tolist()), float(excess[place, arm]))
        for arm, place in enumerate(closest)
        if excess[place, arm] < tolerance
    }


def _excess(mine: float, rival: float) -> float:
    if mine == rival:
        return 0.0
    return mine / rival - 1.0 if rival > 0.0 else np.inf


def _corners(ranges: Ranges) -> tuple[Vector, Vector]:
    """Return (1/rate, 1/speedup, wait) where each is least and where each is greatest."""
    low = np.array([1.0 / ranges.rate[1], 1.0 / ranges.speedup[1], ranges.wait_s[0]])
    high = np.array([1.0 / ranges.rate[0], 1.0 / ranges.speedup[0], ranges.wait_s[1]])
    return low, high
