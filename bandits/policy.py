"""What every policy looks like from outside: two verbs, `select` and `update`.

Costs are latencies in seconds, minimised. A policy owns no clock, no I/O and no randomness it was not
given; the same calls always give the same choices.
"""

import math
from dataclasses import dataclass
from typing import Protocol, TypeGuard, runtime_checkable

import numpy as np

from bandits.arrays import Dump, Matrix, Vector, require_finite


@dataclass(frozen=True, slots=True)
class Cost:
    """What one played frame cost.

    Attributes:
        total_s: capture to answer, seconds. Only a synthetic experiment, whose costs are no durations, may
            go below zero.
        device_s: head + encode on the device, seconds; None where only the total is known.
        link_s: between device and edge worker, seconds: both ways, the bus, and waiting there for a free
            worker; of a censored cost what was waited in vain, a lower bound; None where it is not known.
        wait_s: the part of `link_s` that is known to be waiting for a free edge worker.
        censored: `total_s` is a lower bound only (no reply before the deadline, or a refusal).
        refused: the edge worker answered, but would not do it; the device has finished by itself.

    Raises:
        ValueError: a non-finite cost, or a part with a negative duration.
    """

    total_s: float
    device_s: float | None = None
    link_s: float | None = None
    wait_s: float = 0.0
    censored: bool = False
    refused: bool = False

    def __post_init__(self) -> None:
        """Refuse what would poison a regression."""
        if not math.isfinite(self.total_s):
            raise ValueError(f"total_s is {self.total_s}, expected a finite number")
        for name in ("device_s", "link_s", "wait_s"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0.0):
                raise ValueError(f"{name} is {value}, expected a finite duration in seconds")

    @property
    def rest_s(self) -> float | None:
        """Link, queue and edge worker, seconds; None where only the total is known."""
        return None if self.device_s is None else max(0.0, self.total_s - self.device_s)


@dataclass(frozen=True, slots=True)
class LinkCheck:
    """A message to the broker that nobody answers but the broker, which acknowledges it.

    Attributes:
        units: of the contexts' link column, that the message was long.
        seconds: until its acknowledgement, or so far.
        at_least: it is still on its way: `seconds` is a lower bound.

    Raises:
        ValueError: no length, or a time that is negative or not finite.
    """

    units: float
    seconds: float
    at_least: bool = False

    def __post_init__(self) -> None:
        """Refuse what would poison an estimate."""
        if not (0.0 < self.units < math.inf and 0.0 <= self.seconds < math.inf):
            raise ValueError(f"a link check of {self.units} units in {self.seconds} s is none")


@runtime_checkable
class HeedsLinkChecks(Protocol):
    """A policy that may want to be told how its link does while nothing is offloaded."""

    @property
    def heeds_link_checks(self) -> bool:
        """Whether it does."""
        ...

    @property
    def wants_long_checks(self) -> bool:
        """Whether a short message would say too little: no answer has come since one was waited for in vain.

        A short one takes about a round trip over any link that lives, however little that carries.
        """
        ...

    def ahead_s(self, units: float) -> float:
        """Return how long before a frame a check of `units` is to leave, to tell of a link that has gone.

        0 where it would tell nothing new.
        """
        ...

    def link_checked(self, check: LinkCheck) -> None:
        """Learn from one check; comes at any time, also between `select` and `update`, or not at all."""
        ...


@runtime_checkable
class HeedsQueues(Protocol):
    """A policy that may be told how busy the edge worker is."""

    def told(self, free_s: float, jobs: float) -> None:
        """Learn of the line there, before the `select` for which that holds.

        Args:
            free_s: for how long a job would wait that came now.
            jobs: that wait or run there.
        """
        ...


@runtime_checkable
class Expects(Protocol):
    """A policy that can say why it chose an arm."""

    @property
    def knows(self) -> int:
        """Version of the group's parameters that it has adopted, 0 before the first."""
        ...

    def expected(self, arm: int) -> tuple[float, float]:
        """Return what an arm of the latest `select` was to cost, and how far off that may be, seconds.

        Raises:
            ValueError: no such arm.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Exits:
    """What early exits on the way of each arm make of it.

    Attributes:
        stay: shape (K,), how likely none of them answers, so that the arm is played as its context says.
        early: shape (K, d), the contexts of the runs that end at one, each times how likely it does.
    """

    stay: Vector
    early: Matrix


@runtime_checkable
class HeedsExits(Protocol):
    """A policy that knows that an early exit may answer on the way of an arm, and learns where one did."""

    exits: Exits | None
    """Of the `select` that follows; None where there are none."""

    def exited(self, context: Vector, device_s: float) -> None:
        """Learn from a frame that an early exit answered; comes in place of `update`.

        Args:
            context: shape (d,), of the run to the exit; zero outside the device's own columns.
            device_s: what the run took, seconds.
        """
        ...


class Policy(Protocol):
    """Chooses an arm for each frame and learns from what it cost."""

    name: str

    def select(self, contexts: Matrix) -> int:
        """Return the arm to play.

        Args:
            contexts: shape (K, d), one row an arm, columns scaled to O(1).
        """
        ...

    def update(self, arm: int, cost: Cost) -> None:
        """Learn what `arm`, played with the contexts of the latest `select`, cost."""
        ...

    def dump(self) -> Dump:
        """Return the whole state as primitives and arrays."""
        ...

    def load(self, state: Dump) -> None:
        """Take over a state that `dump` of an equally configured policy returned."""
        ...


def heeds_link_checks(policy: Policy) -> TypeGuard[HeedsLinkChecks]:
    """Whether a policy wants to be told."""
    return isinstance(policy, HeedsLinkChecks) and policy.heeds_link_checks


class Contexts:
    """The contexts of the latest `select`, kept for the `update` that follows.

    Attributes:
        rows: shape (K, d), a copy, since the caller may refill its array for the next frame.
    """

    __slots__ = ("rows",)

    def __init__(self, dimension: int) -> None:
        self.rows: Matrix = np.empty((0, dimension))

    def remember(self, contexts: Matrix) -> Matrix:
        """Check, copy and return the contexts of this frame.

        Raises:
            ValueError: no arm, another dimension, NaN or infinity.
        """
        checked = require_finite(contexts, (None, self.rows.shape[1]), "contexts")
        if checked.shape[0] == 0:
            raise ValueError("contexts hold no arm")
        self.rows = checked.copy()
        return self.rows

    def row(self, arm: int) -> Vector:
        """Return the context (d,) of `arm`.

        Raises:
            ValueError: no such arm, or nothing selected yet.
        """
        if not 0 <= arm < self.rows.shape[0]:
            raise ValueError(f"arm {arm} is not among the {self.rows.shape[0]} of the latest select")
        row: Vector = self.rows[arm]
        return row
