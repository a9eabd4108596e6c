"""What an experiment came to: means over its seeds, each with a 95 % interval (Student's t)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from lab.simulator import spec
from lab.simulator.engine import Run
from lab.simulator.jobs import Job, read

Figures = dict[str, float]
Report = dict[str, Any]

QUANTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}


def figures_of(run: Run, *, in_seconds: bool, settle_frames: int, honest: Sequence[bool] = ()) -> Figures:
    """Return what one run comes to: regret in the cost's unit, latencies in ms where costs are durations.

    `honest` holds a boolean a device: where some are not, `honest_regret` is the regret of those who are.

    `later_mean_ms` is the mean over what devices play from their frame `settle_frames` on; it is there when
    any device gets so far.
    """
    figures = {"regret": float(run.regret.sum())}
    if not all(honest):
        figures["honest_regret"] = float(run.regret[np.array(honest)[run.device]].sum())
    if in_seconds:
        figures["mean_ms"] = 1e3 * float(run.cost.mean())
        later = run.cost[_frame_of(run.device) >= settle_frames]
        if later.size:
            figures["later_mean_ms"] = 1e3 * float(later.mean())
        quantiles = np.quantile(run.cost, list(QUANTILES.values()))
        figures |= {name: 1e3 * float(value) for name, value in zip(QUANTILES, quantiles, strict=True)}
    return figures | {"messages": float(run.messages), "bytes": float(run.bytes)}


def _frame_of(device: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Return for each turn how many its device has played before."""
    counts = np.bincount(device)
    frames = np.empty(device.size, dtype=np.int64)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    frames[np.argsort(device, kind="stable")] = np.arange(device.size) - starts
    return frames


def honest_devices(world: spec.World) -> list[bool]:
    """Return for each device whether it is honest; nothing where all are by construction."""
    types = world.types if isinstance(world, spec.Site) else ()
    return [kind.honest for kind in types for _ in range(kind.devices)]


def interval(values: Sequence[float]) -> dict[str, Any]:
    """Return mean and 95 % interval of the mean; no interval of a single value."""
    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean())
    if sample.size < 2:
        return {"mean": mean, "ci95": None}
    half = float(stats.t.ppf(0.975, sample.size - 1)) * float(sample.std(ddof=1)) / math.sqrt(sample.size)
    return {"mean": mean, "ci95": [mean - half, mean + half]}


def summarise(experiment: spec.Experiment, jobs: Sequence[Job], provenance: Mapping[str, Any]) -> Report:
    """Return the content of `summary.json`, from the files that the jobs have written.

    `by_seed` holds what the means are of: policy, seed, figure.
    """
    policies: dict[str, dict[str, Any]] = {}
    by_seed: dict[str, dict[str, Figures]] = {}
    for policy in experiment.policies:
        world = experiment.worlds[policy]
        in_seconds, honest = isinstance(world, spec.Site), honest_devices(world)
        each = {
            str(job.seed): figures_of(
                read(job), in_seconds=in_seconds, settle_frames=experiment.settle_frames, honest=honest
            )
            for job in jobs
            if job.policy == policy
        }
        by_seed[policy] = each
        names = next(iter(each.values()))
        policies[policy] = {name: interval([one[name] for one in each.values()]) for name in names}
    return {"policies": policies, "by_seed": by_seed, "provenance": dict(provenance)}
