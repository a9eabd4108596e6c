"""An experiment, as its file is read."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from lab.simulator.spec.family import Family
from lab.simulator.spec.rivals import (
    Ans,
    Async,
    BestFixed,
    Central,
    Detector,
    Discounted,
    DisLinUCB,
    EpsilonGreedy,
    Fixed,
    LinTs,
    Neurosurgeon,
    Oracle,
    Random,
    TwoArm,
    Windowed,
)
from lab.simulator.spec.sections import Positive, Section
from lab.simulator.spec.testbed import Testbed
from lab.simulator.spec.worlds import World

Engine = Literal["auto", "plain", "batched"]

Learner = (
    Family
    | Async
    | DisLinUCB
    | Central
    | Discounted
    | Windowed
    | Detector
    | Fixed
    | TwoArm
    | Ans
    | Neurosurgeon
    | LinTs
    | EpsilonGreedy
    | Oracle
    | BestFixed
    | Random
)

FIGURES = ("regret", "messages", "bytes")
"""What every run comes to."""
TIMED_FIGURES = ("mean_ms", "later_mean_ms", "p50_ms", "p95_ms", "p99_ms")
"""What a run comes to where costs are durations; `later_mean_ms` where it is long enough."""


class Experiment(Section, frozen=True, kw_only=True):
    """One experiment.

    Attributes:
        title, asks: for people.
        seeds: runs of each policy, numbered from `first_seed`.
        first_seed: evaluation starts at 1000; seeds below that are for tuning.
        world: where it happens.
        family: settings of all members of the family, unless a policy says otherwise.
        policies: who plays; each meets the same frames, links and noise, seed by seed.
        worlds: for each policy, what it has changed of the world.
        published: figures of others that should come out, by policy.
        settle_frames: `later_mean_ms` counts from this frame of each device on.
        engine: "plain" plays a run at a time, "batched" many together with the same choices, "auto" batches
            what has a batched form (`batch/scope.py`); over a cluster all is plain.
        testbed: how it is played for real; None where it never is.
        grid: axes, their values, and what each value changes of the file (`lab/simulator/grid.py`).
    """

    title: str
    asks: str = ""
    seeds: Annotated[int, Meta(ge=1, le=10_000)] = 10
    first_seed: Annotated[int, Meta(ge=0)] = 1000
    world: World
    policies: dict[str, Learner]
    worlds: dict[str, World]
    published: dict[str, dict[str, Positive]] = msgspec.field(default_factory=dict)
    settle_frames: Annotated[int, Meta(ge=1, le=10_000_000)] = 200
    engine: Engine = "auto"
    testbed: Testbed | None = None
    grid: dict[str, dict[str, dict[str, Any]]] = msgspec.field(default_factory=dict)
