"""What a simulated world is: devices, and turns in the order of time.

Everything random about a turn is drawn before anybody chooses, from streams of the seed alone. So every
policy meets the same frames, links and noise, and the difference of two policies is theirs.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from bandits.policy import Cost, HeedsLinkChecks, HeedsQueues, LinkCheck, Policy
from bandits.statistics import Statistics
from edge.batching import Batch
from lab.simulator import spec

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shared:
    """An edge worker whose tails devices wait for.

    Attributes:
        workers: tails at a time.
        batches: by cut, how many frames a run takes, and what it costs besides them, in frames.
    """

    workers: int
    batches: Mapping[int, Batch]


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What a frame takes where devices wait for each other; seconds from its beginning, shape (K,).

    Attributes:
        sends: which arms ask the edge worker.
        sent_s: until its request leaves the device, or its answer is there.
        arrives_s: until its request is at the edge worker.
        tail_s: what decoding and tail take, alone.
        back_s: what an answer's way takes.
        until_s: until nobody waits any more for an answer.
        finish_s: what finishing alone takes after that.
        reply_lost: whether no answer arrives.
        mean_s: returns expected total seconds (K,), given what each arm's request waits (K,).
    """

    sends: npt.NDArray[np.bool_]
    sent_s: Vector
    arrives_s: Vector
    tail_s: Vector
    back_s: float
    until_s: Vector
    finish_s: Vector
    reply_lost: bool
    mean_s: Callable[[Vector], Vector]


class Ahead(Protocol):
    """For how long before a frame a link check leaves, by its units; see `HeedsLinkChecks.ahead_s`."""

    def __call__(self, units: float) -> float:
        """Return seconds; 0 for no check."""
        ...


class Checking(Protocol):
    """A device's link checks after a frame."""

    def __call__(self, after_s: float, *, long: bool = False, ahead: Ahead | None = None) -> LinkCheck | None:
        """Return what one says that begins after so many seconds, None if it could not begin.

        With `ahead` it begins so long before the next frame, if this one is over by then.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """One frame of one device.

    Attributes:
        at_s: virtual seconds since the start.
        device: its index.
        contexts: shape (K, d).
        means: shape (K,), true expected cost of each arm.
        costs: shape (K,), what each arm would cost this time.
        device_costs, link_costs: shape (K,), the device's part and the part between device and edge, or
            what was waited in vain; None where a cost has no parts.
        censored: shape (K,), whether a cost is a lower bound only, because the device gave up waiting.
        wait_s: for how long an offloaded frame waits for a free edge worker, whatever its team does; in
            `link_costs`.
        line: for how long a frame would wait that arrived there now, and how many jobs are there, as the edge
            worker has said; None where it has not.
        parts: of its costs, in a world whose devices wait for each other; None elsewhere.
        check: what a link check says before the device's next frame; None in a world without.
        look_ahead: devices know when their next frame is due, and check their link before it.
    """

    at_s: float
    device: int
    contexts: Matrix
    means: Vector
    costs: Vector
    device_costs: Vector | None = None
    link_costs: Vector | None = None
    censored: npt.NDArray[np.bool_] | None = None
    wait_s: float = 0.0
    check: Checking | None = None
    look_ahead: bool = False
    line: tuple[float, float] | None = None
    parts: Parts | None = None

    def cost_of(self, arm: int) -> Cost:
        """Return what playing `arm` has cost."""
        total_s = float(self.costs[arm])
        if self.device_costs is None or self.link_costs is None or self.censored is None:
            return Cost(total_s)
        censored = bool(self.censored[arm])
        link_s = float(self.link_costs[arm])
        wait_s = 0.0 if censored else min(self.wait_s, link_s)
        return Cost(total_s, float(self.device_costs[arm]), link_s, wait_s, censored=censored)


def tell_of_link(policy: HeedsLinkChecks, turn: Turn, cost: Cost) -> None:
    """Tell a policy what the check says that follows each frame without an edge worker's answer.

    Behind one with an answer there may be one that leaves shortly before the next frame.
    """
    if turn.check is None:
        return
    if cost.censored or cost.link_s == 0.0:
        check = turn.check(cost.total_s, long=policy.wants_long_checks)
    else:
        check = turn.check(cost.total_s, long=True, ahead=policy.ahead_s) if turn.look_ahead else None
    if check is not None:
        policy.link_checked(check)


def tell_of_queue(policy: Policy, turn: Turn) -> None:
    """Tell a policy what the edge worker has said of its queue."""
    if turn.line is not None and isinstance(policy, HeedsQueues):
        policy.told(*turn.line)


class World(Protocol):
    """Where devices play.

    Attributes:
        types: name of the type that each device says it is of.
        joins_s, leaves_s: when each device appears, and when it has played its last frame; infinite if never.
        channel: what happens to messages.
        lies: what each device does to its uploads, None for nothing.
        arms: labels of the arms, empty where they are drawn anew each round.
        device_columns: d booleans, the context columns of the device's own work.
        link_column: index of the context column of what is sent; None where nothing is.
        rounds: turns in all.
        in_seconds: whether costs are durations.
        shared: the edge worker that devices wait for; None where nobody waits for another device.
    """

    types: tuple[str, ...]
    joins_s: tuple[float, ...]
    leaves_s: tuple[float, ...]
    channel: spec.Channel
    lies: tuple[spec.Lies | None, ...]
    arms: tuple[str, ...]
    device_columns: npt.NDArray[np.bool_]
    link_column: int | None
    rounds: int
    in_seconds: bool
    shared: Shared | None

    def turns(self) -> Iterator[Turn]:
        """Play the world once more from its beginning; every call yields the same turns."""
        ...

    def device_means(self, device: int) -> Vector:
        """Return the mean seconds (K,) of the device's own part, for rivals that know theirs.

        Raises:
            ConfigurationError: costs that have no parts.
        """
        ...

    def edge_means(self) -> Vector:
        """Return the mean seconds (K,) of the edge's part, nobody waiting; as `device_means`."""
        ...

    def experience(self, device: int, rows: int) -> Statistics:
        """Return early-exit experience of a device; no rows where there are no exits."""
        ...


def stream(seed: int, *keys: int) -> np.random.Generator:
    """Return the random numbers that belong to `keys` under `seed`, independent of all others."""
    return np.random.default_rng(np.random.SeedSequence((seed, *keys)))
