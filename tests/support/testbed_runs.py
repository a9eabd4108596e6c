"""Runs of a testbed that nobody has played: real plans and real messages, latencies as a test wants them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.simulator.experiment import load
from lab.testbed.coordinator import Repetition, Turn
from lab.testbed.orders import Joined, Played, Row
from lab.testbed.plan import Block, Plan, TestDevice
from lab.testbed.results import summarise

EXPERIMENT = """
title = "Two <cameras> & a link"
asks = "Who is <faster>?"
seeds = {seeds}
settle_frames = 5

[testbed]
product = "A camera & a gateway."
block_frames = 5
sweep = ["13/int8-zstd"]

[world]
kind = "site"
network = "mobilenet_v2"
frames = 10
fps = 4.0
deadline_ms = 1000.0

[[world.types]]
name = "phone"
slowness = 8.0
link = {{ kind = "constant", mbit_s = 3.0 }}

[[world.types]]
name = "board"
slowness = 2.0
link = {{ kind = "lte", mbit_s = 1.0 }}

[policies.default]
[policies.ans]
[policies.device_only]
[policies.edge_only_jpeg]
[policies.two_arm]
[policies.best_fixed]
[policies.oracle]
"""
MEANS = {
    "default": 50.0,
    "ans": 100.0,
    "device_only": 80.0,
    "edge_only_jpeg": 120.0,
    "two_arm": 70.0,
    "arm.13.int8-zstd": 90.0,
}
ARMS = ("0/jpeg", "13/int8-zstd", "end/none")
_PLAYED = {
    "edge_only_jpeg": "0/jpeg",
    "ans": "0/jpeg",
    "default": "13/int8-zstd",
    "arm.13.int8-zstd": ARMS[1],
}

Ms = Callable[[str, str, int, int], float | None]
"""Latency of (policy, device, frame, seed); None where the frame is lost."""


def steady(policy: str, device: str, frame: int, seed: int) -> float:
    """Give each policy its mean, give or take what depends on the frame and on the seed."""
    del device
    # Another part of the seed for each policy, or no difference would ever vary.
    return MEANS[policy] * (1.0 + 0.01 * (frame % 5 - 2) + 0.002 * (seed * len(policy) % 7 - 3))


@dataclass(frozen=True)
class Run:
    """A run, ready to be told of."""

    plan: Plan
    repetitions: list[Repetition]
    report: dict[str, Any] = field(repr=False)


def run(
    folder: Path,
    *,
    seeds: int = 4,
    only: Sequence[str] = (),
    ms: Ms = steady,
    overrides: Sequence[str] = (),
    slower: Callable[[Block, int], float] = lambda block, attempt: 0.01,
    predicted: dict[str, float] | None = None,
    wrong: Sequence[int] = (),
) -> Run:
    """Return a run whose frames took `ms`; default answers the frames in `wrong` wrongly."""
    path = folder / "experiment.toml"
    path.write_text(EXPERIMENT.format(seeds=seeds), encoding="utf-8")
    plan = Plan(load(path, overrides=tuple(overrides), only=tuple(only)))
    repetitions = [_repetition(plan, seed, ms, slower, wrong) for seed in plan.seeds]
    report = summarise(plan, repetitions, _provenance(plan, repetitions))
    report["predicted"] = {
        name: {"mean_ms": {"mean": mean, "ci95": None}} for name, mean in (predicted or {}).items()
    }
    return Run(plan, repetitions, report)


def _repetition(
    plan: Plan, seed: int, ms: Ms, slower: Callable[[Block, int], float], wrong: Sequence[int]
) -> Repetition:
    turns = []
    for block in plan.blocks(seed):
        attempt = 0
        while True:
            share = slower(block, attempt)
            again = share > plan.testbed.probe_drift and attempt < plan.testbed.repeats
            turns += [
                _turn(plan, block, device, seed, ms, attempt, share, wrong, counts=not again)
                for device in plan.devices
                if device.joins_round <= block.round
            ]
            if not again:
                break
            attempt += 1
    joined = {
        device.name: Joined(number=1, label="a network", model="0" * 16, arms=ARMS, versions={"cans": "0"})
        for device in plan.devices
    }
    return Repetition(seed=seed, joined=joined, turns=turns, took_s=12.0)


def _turn(
    plan: Plan,
    block: Block,
    device: TestDevice,
    seed: int,
    ms: Ms,
    attempt: int,
    slower: float,
    wrong: Sequence[int],
    *,
    counts: bool,
) -> Turn:
    rows, lost = [], {}
    for seq in range(block.first, block.first + plan.testbed.block_frames):
        total_ms = ms(block.policy, device.name, seq, seed)
        if total_ms is None:
            lost[str(seq)] = "deadline"
            continue
        arm = _PLAYED.get(block.policy, "end/none")
        top = seq % 3 + 10 * (block.policy == "default" and seq in wrong)
        rows.append(
            Row(
                seq=seq,
                arm=arm,
                by="device" if arm == "end/none" else "edge",
                reason="",
                top=top,
                met=total_ms <= plan.world.deadline_ms,
                sent_bytes=0 if arm == "end/none" else 1000,
                stages={"total": total_ms, "head": 0.6 * total_ms, "link": 0.4 * total_ms},
            )
        )
    played = Played(
        number=1, policy=block.policy, rows=tuple(rows), lost=lost, cpu_s=0.1, messages=1, bytes=100
    )
    return Turn(
        round=block.round,
        place=block.place,
        policy=block.policy,
        first=block.first,
        at_s=block.at_s,
        device=device.name,
        type=device.kind.name,
        attempt=attempt,
        counts=counts,
        slower=slower,
        played=played,
    )


def _provenance(plan: Plan, repetitions: Sequence[Repetition]) -> dict[str, Any]:
    return {
        "title": plan.experiment.title,
        "experiment": "experiment.toml",
        "overrides": [],
        "worlds": dict.fromkeys([*plan.policies, *plan.experiment.policies], "f" * 16),
        "settle_frames": plan.experiment.settle_frames,
        "seeds": [plan.seeds[0], plan.seeds[-1]],
        "mode": "portable",
        "emulated": "links & devices",
        "estimated": "estimated from the swept arms",
        "machine": "Linux",
        "processors": 2,
        "devices": {"phone-1": "a network"},
        "seconds": [each.took_s for each in repetitions],
        "command": "cans testbed experiment.toml",
        "commit": "0123456789ab",
        "versions": {"cans": "0", "python": "3", "torch": "2", "numpy": "2"},
    }
