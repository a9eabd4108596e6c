"""What an experiment came to: means over its seeds, each with a 95 % interval (Student's t)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from lab.simulator import spec
from lab.simulator.jobs import Job, read
from lab.simulator.runs import Run
from lab.simulator.schedule import stays_of

Figures = dict[str, float]
Report = dict[str, Any]

QUANTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}


FIRST_FRAMES = 50
"""Of a joiner, that are held against those of settled members."""
FIRST = "first50_"
"""How the figure of a joining type begins; its name follows."""


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


def joiners(run: Run, settings: spec.Site) -> Figures:
    """Return what the first frames of joiners cost, as a multiple of what settled members paid meanwhile.

    A joiner is of a type that joins later and declares another one, which is there from the beginning, as
    fast and linked alike; its settled members are the devices of that other one. Named after the joiner's.
    """
    stays = stays_of(settings)
    kinds = {kind.name: kind for kind in settings.types}
    figures = {}
    for joiner in settings.types:
        settled = kinds.get(joiner.declared)
        if settled is None or not _joins(joiner) or _joins(settled) or not _alike(joiner, settled):
            continue
        own = [device for device, stay in enumerate(stays) if stay.kind is joiner]
        first = np.isin(run.device, own) & (_frame_of(run.device) < FIRST_FRAMES)
        others = [device for device, stay in enumerate(stays) if stay.kind is settled]
        begin_s, end_s = run.at_s[first].min(), run.at_s[first].max()
        meanwhile = np.isin(run.device, others) & (run.at_s >= begin_s) & (run.at_s <= end_s)
        if meanwhile.any():
            figures[FIRST + joiner.name] = float(run.cost[first].mean() / run.cost[meanwhile].mean())
    return figures


def _joins(kind: spec.DeviceType) -> bool:
    return kind.join_at_s is not None or kind.join_after_frames is not None


def _alike(one: spec.DeviceType, other: spec.DeviceType) -> bool:
    return _pace_and_link(one) == _pace_and_link(other)


def _pace_and_link(kind: spec.DeviceType) -> tuple[float, float | None, spec.Link, float | None]:
    return kind.slowness, kind.whole_ms, kind.link, kind.fps


def per_device(figures: Figures, devices: int) -> Figures:
    """Return what grows with the number of devices, for one of them."""
    return {f"{name}_a_device": figures[name] / devices for name in ("regret", "messages", "bytes")}


def devices_in(world: spec.World) -> int:
    """Return how many devices play."""
    return len(stays_of(world)) if isinstance(world, spec.Site) else world.devices


def honest_devices(world: spec.World) -> list[bool]:
    """Return for each device whether it is honest; nothing where all are by construction."""
    return [stay.kind.honest for stay in stays_of(world)] if isinstance(world, spec.Site) else []


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
    sizes = {policy: devices_in(world) for policy, world in experiment.worlds.items()}
    for policy, world in experiment.worlds.items():
        each = {}
        for job in (job for job in jobs if job.policy == policy):
            run = read(job)
            in_seconds = isinstance(world, spec.Site)
            figures = figures_of(
                run,
                in_seconds=in_seconds,
                settle_frames=experiment.settle_frames,
                honest=honest_devices(world),
            )
            if isinstance(world, spec.Site):
                figures |= joiners(run, world)
                if len(set(sizes.values())) > 1:
                    figures |= per_device(figures, sizes[policy])
            each[str(job.seed)] = figures
        by_seed[policy] = each
        names = next(iter(each.values()))
        policies[policy] = {name: interval([one[name] for one in each.values()]) for name in names}
    return {"policies": policies, "by_seed": by_seed, "provenance": dict(provenance)}
