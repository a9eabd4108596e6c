"""How much slower the machine was beside blocks than usual, and what was done about it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lab.testbed.coordinator import Repetition
from lab.testbed.plan import Plan


@dataclass(frozen=True, slots=True)
class Probed:
    """One block, once: all its devices share a probe.

    Attributes:
        policy: who played. slower: as a share. counts: whether it is in the results.
    """

    policy: str
    slower: float
    counts: bool


@dataclass(frozen=True, slots=True)
class PolicyDisturbance:
    """Of one policy: blocks that count, played again, and the median and worst of those that count."""

    policy: str
    blocks: int
    again: int
    median: float
    worst: float


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Of a run.

    Attributes:
        limit: share from which a block is played again.
        blocks: all, in order of time.
        again: how many were played again.
        kept: how many count although they were disturbed: the last attempt was not better.
        median, p95, worst: of all blocks, as shares.
        policies: each by itself, to see whether the slow moments hit one of them.
    """

    limit: float
    blocks: list[Probed]
    again: int
    kept: int
    median: float
    p95: float
    worst: float
    policies: list[PolicyDisturbance]


def disturbance_of(plan: Plan, repetitions: Sequence[Repetition]) -> Disturbance:
    """Return it; there is at least one block."""
    limit = plan.testbed.probe_drift
    found: dict[tuple[int, int, int, int], Probed] = {}
    for repetition in repetitions:
        for turn in repetition.turns:
            key = (repetition.seed, turn.round, turn.place, turn.attempt)
            found[key] = Probed(turn.policy, turn.slower, turn.counts)
    blocks = list(found.values())
    slower = np.array([block.slower for block in blocks])
    return Disturbance(
        limit=limit,
        blocks=blocks,
        again=sum(not block.counts for block in blocks),
        kept=sum(block.counts and block.slower > limit for block in blocks),
        median=float(np.median(slower)),
        p95=float(np.quantile(slower, 0.95)),
        worst=float(slower.max()),
        policies=[_policy(name, blocks) for name in dict.fromkeys(block.policy for block in blocks)],
    )


def _policy(name: str, blocks: Sequence[Probed]) -> PolicyDisturbance:
    own = [block for block in blocks if block.policy == name]
    kept = [block.slower for block in own if block.counts]
    return PolicyDisturbance(
        name, len(kept), len(own) - len(kept), float(np.median(kept)), float(np.max(kept))
    )
