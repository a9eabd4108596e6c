"""What repetitions of a testbed come to: `summary.json` as simulations write it, so `cans compare` reads it.

A frame counts once: of a block that was played again, the last time. `best_fixed` and `oracle` are estimates
from the arms that were swept: the arm with the least mean of a device over a repetition, and the arm with the
least mean of each block. The latter picks the best of noisy means, so it flatters the oracle.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lab.simulator import spec
from lab.simulator.summary import QUANTILES, Figures, Report, interval
from lab.testbed.coordinator import Repetition, Turn
from lab.testbed.plan import ESTIMATED, SWEPT, Plan

Vector = npt.NDArray[np.float64]
ESTIMATES = "estimated from the swept arms"


def turns_of(repetition: Repetition, policy: str) -> list[Turn]:
    """Return the turns of a policy that count, in order of time."""
    return [turn for turn in repetition.turns if turn.policy == policy and turn.counts]


def latencies(turns: Sequence[Turn]) -> Vector:
    """Return capture to answer of every answered frame, ms."""
    return np.array([row.stages["total"] for turn in turns for row in turn.played.rows])


def figures_of(plan: Plan, repetition: Repetition, policy: str) -> Figures:
    """Return what one policy came to in one repetition."""
    turns = turns_of(repetition, policy)
    rows = [row for turn in turns for row in turn.played.rows]
    frames = sum(len(turn.played.rows) + len(turn.played.lost) for turn in turns)
    figures = _latency_of(latencies(turns))
    later_ms = latencies([turn for turn in turns if turn.first >= plan.experiment.settle_frames])
    if later_ms.size:
        figures["later_mean_ms"] = float(later_ms.mean())
    figures |= {
        "answered": len(rows) / frames,
        "missed": sum(not row.met for row in rows) / frames,
        "payload_bytes": sum(row.sent_bytes for row in rows) / frames,
        "cpu_ms": 1e3 * sum(turn.played.cpu_s for turn in turns) / frames,
        "messages": float(sum(turn.played.messages for turn in turns)),
        "bytes": float(sum(turn.played.bytes for turn in turns)),
    }
    agreement = agreement_of(repetition, policy)
    return figures if agreement is None else figures | {"agreement": agreement}


def _latency_of(total_ms: Vector) -> Figures:
    """Return mean and quantiles; nothing where no frame was answered."""
    if not total_ms.size:
        return {}
    quantiles = np.quantile(total_ms, list(QUANTILES.values()))
    return {"mean_ms": float(total_ms.mean())} | {
        name: float(value) for name, value in zip(QUANTILES, quantiles, strict=True)
    }


def agreement_of(repetition: Repetition, policy: str) -> float | None:
    """Return how often a policy's answers are the whole network's; None where nobody has run that.

    The whole network's answer to a frame is that of a policy that kept it on the device to its end.
    """
    whole: dict[tuple[str, int], int] = {}
    for turn in repetition.turns:
        for row in turn.played.rows:
            if row.arm == "end/none" and row.by == "device" and not row.reason:
                whole[turn.device, row.seq] = row.top
    same = [
        whole[turn.device, row.seq] == row.top
        for turn in turns_of(repetition, policy)
        for row in turn.played.rows
        if (turn.device, row.seq) in whole
    ]
    return sum(same) / len(same) if same else None


def swept(plan: Plan) -> dict[str, str]:
    """Return the policies that play one arm for ever, to the arm."""
    return {name: each.arm for name, each in plan.policies.items() if isinstance(each, spec.Fixed)}


def estimates(plan: Plan, repetition: Repetition) -> dict[str, Figures]:
    """Return `best_fixed` and `oracle` as the experiment asks for them."""
    wanted = {name: each for name, each in plan.experiment.policies.items() if isinstance(each, ESTIMATED)}
    arms = list(swept(plan))
    if not wanted or not arms:
        return {}
    means: dict[str, dict[tuple[str, int], Vector]] = {
        arm: {(turn.device, turn.round): latencies([turn]) for turn in turns_of(repetition, arm)}
        for arm in arms
    }
    blocks = sorted(means[arms[0]])
    found = {}
    for name, learner in wanted.items():
        if isinstance(learner, spec.Oracle):
            chosen = {block: min(arms, key=lambda arm: _mean(means[arm][block])) for block in blocks}
        else:
            best = {device: _best_of(device, means, arms) for device in {block[0] for block in blocks}}
            chosen = {block: best[block[0]] for block in blocks}
        total_ms = np.concatenate([means[arm][block] for block, arm in chosen.items()])
        found[name] = _latency_of(total_ms)
    return found


def _best_of(device: str, means: Mapping[str, Mapping[tuple[str, int], Vector]], arms: Sequence[str]) -> str:
    def mean(arm: str) -> float:
        return _mean(np.concatenate([each for block, each in means[arm].items() if block[0] == device]))

    return min(arms, key=mean)


def _mean(values: Vector) -> float:
    return float(values.mean()) if values.size else float("inf")


def summarise(plan: Plan, repetitions: Sequence[Repetition], provenance: Mapping[str, Any]) -> Report:
    """Return the content of `summary.json`."""
    by_seed: dict[str, dict[str, Figures]] = {}
    for repetition in repetitions:
        found = {policy: figures_of(plan, repetition, policy) for policy in plan.policies}
        for policy, figures in (found | estimates(plan, repetition)).items():
            by_seed.setdefault(policy, {})[str(repetition.seed)] = figures
    policies = {
        policy: {
            figure: interval([each[figure] for each in seeds.values()])
            for figure in next(iter(seeds.values()))
            if all(figure in each for each in seeds.values())
        }
        for policy, seeds in by_seed.items()
    }
    return {
        "policies": policies,
        "by_seed": by_seed,
        "repeated": _repeated(repetitions, plan.testbed.probe_drift),
        "provenance": dict(provenance),
    }


def _repeated(repetitions: Sequence[Repetition], drift: float) -> dict[str, float]:
    """Return how many turns there were, how many were played again, and how slow the machine was."""
    turns = [turn for repetition in repetitions for turn in repetition.turns]
    slower = sorted(turn.slower for turn in turns)
    return {
        "turns": len(turns),
        "again": sum(not turn.counts for turn in turns),
        "slower_p50": float(np.quantile(slower, 0.5)) if slower else 0.0,
        "slower_p95": float(np.quantile(slower, 0.95)) if slower else 0.0,
        "disturbed_and_kept": sum(turn.counts and turn.slower > drift for turn in turns),
    }


def shown(plan: Plan) -> Iterator[str]:
    """Yield the policies in the order in which people want to see them: arms of the sweep last."""
    names = [*plan.experiment.policies, *(name for name in plan.policies if name.startswith(SWEPT))]
    yield from dict.fromkeys(names)
