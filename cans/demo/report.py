"""The demo's figures: what it says at the end, as a table and as JSON. Pure.

Every policy is judged on the same frames, the second half: the first is what the learner learns from, and on
a machine that others use as well, means over other minutes differ by more than the policies do.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.table import Table

from cans.demo.plan import LEARNER, RIVALS, DemoSettings

_LABELS = {"learned": LEARNER, **{rival: rival for rival in RIVALS}}
# One device's run, as `cans device --summary` writes it.
Summary = Mapping[str, Any]


def latency(samples: Sequence[float]) -> dict[str, float]:
    """Mean, median and 95th percentile of milliseconds, and how many there are."""
    if not samples:
        return {"mean_ms": 0.0, "p50_ms": 0.0, "p95_ms": 0.0, "frames": 0}
    ordered = sorted(samples)
    # Nearest rank: the smallest sample that at least 95 % do not exceed.
    p95 = ordered[-(-95 * len(ordered) // 100) - 1]
    return {
        "mean_ms": round(statistics.fmean(ordered), 3),
        "p50_ms": round(statistics.median(ordered), 3),
        "p95_ms": round(p95, 3),
        "frames": len(ordered),
    }


def second_half(samples: Sequence[float]) -> Sequence[float]:
    """The later half; of an odd number the middle one belongs to it."""
    return samples[len(samples) // 2 :]


def make_report(
    settings: DemoSettings,
    summaries: Mapping[str, Summary],
    *,
    merged: int,
    weights: str,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """Return the report.

    Args:
        settings: the demo.
        summaries: by device.
        merged: uploads that the aggregator says it has merged.
        weights: label of the network's weights.
        versions: of what it ran with.
    """
    played = [policy for summary in summaries.values() for policy in summary["policies"].values()]
    answered_by = {
        who: sum(policy["answered"].get(who, 0) for policy in played)
        for who in ("device", "edge", "fallback")
    }
    return {
        "frames": {
            "sent": sum(policy["sent"] for policy in played),
            "answered": sum(answered_by.values()),
            "answered_by": answered_by,
        },
        "statistics": {
            "sent": sum(summary["statistics_sent"] for summary in summaries.values()),
            "merged": merged,
            "acknowledged": sum(summary["statistics_merged"] for summary in summaries.values()),
        },
        "types": {kind.name: _type(kind.devices, summaries) for kind in settings.types},
        "whole_mean_ms": {kind.name: _wholes(kind.devices, summaries) for kind in settings.types},
        "seed": settings.seed,
        "versions": dict(versions),
        "emulated": {
            "what": "device compute stretched by sleeping, links shaped by a TCP proxy, all on one machine",
            "weights": weights,
            "slowness": {kind.name: kind.slowness for kind in settings.types},
            "links": {kind.name: asdict(kind.link) for kind in settings.types},
        },
    }


def _type(devices: Sequence[str], summaries: Mapping[str, Summary]) -> dict[str, dict[str, float]]:
    """Latencies of one type, its devices together: of the second half, and `learned_whole` of all frames."""
    later = {
        label: latency([ms for each in _samples(policy, devices, summaries) for ms in second_half(each)])
        for label, policy in _LABELS.items()
    }
    whole = latency([ms for each in _samples(LEARNER, devices, summaries) for ms in each])
    return {"learned": later.pop("learned"), "learned_whole": whole, **later}


def _wholes(devices: Sequence[str], summaries: Mapping[str, Summary]) -> dict[str, float]:
    """Mean latency of all of every policy's frames, milliseconds."""
    return {
        label: latency([ms for each in _samples(policy, devices, summaries) for ms in each])["mean_ms"]
        for label, policy in _LABELS.items()
    }


def _samples(policy: str, devices: Sequence[str], summaries: Mapping[str, Summary]) -> list[Sequence[float]]:
    """Return each device's latencies under a policy, milliseconds."""
    return [summaries[device]["policies"][policy]["total_ms"] for device in devices]


def best_fixed(figures: Mapping[str, Mapping[str, float]]) -> tuple[str, float]:
    """The fixed policy with the lowest mean latency, and that mean in milliseconds."""
    fixed = [rival for rival in RIVALS if rival != "two_arm"]
    best = min(fixed, key=lambda name: figures[name]["mean_ms"])
    return best, figures[best]["mean_ms"]


def table(report: Mapping[str, Any]) -> Table:
    """Return the report as a table for people."""
    emulated = report["emulated"]
    kinds = "; ".join(
        f"{name} {emulated['slowness'][name]:g}x slower, "
        f"{link['up_mbit']:g} Mbit/s up, {link['delay_ms']:g} ms"
        for name, link in emulated["links"].items()
    )
    # Narrow borders: the whole row fits the 80 columns of a plain terminal or a log.
    grid = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title=f"Latency in ms; devices and links are emulated, weights {emulated['weights']}",
        caption=f"second half of the frames; whole: all of them; * best fixed policy; "
        f"seed {report['seed']}; {kinds}",
    )
    for column in ("type", "policy", "mean", "p50", "p95", "frames", "/ best", "whole"):
        grid.add_column(column, justify="left" if column in {"type", "policy"} else "right", no_wrap=True)
    for name, figures in report["types"].items():
        best, best_ms = best_fixed(figures)
        whole = report["whole_mean_ms"][name]
        label = name
        for policy, row in figures.items():
            grid.add_row(
                label,
                policy + (" *" if policy == best else ""),
                *(f"{row[key]:.1f}" for key in ("mean_ms", "p50_ms", "p95_ms")),
                str(int(row["frames"])),
                f"{row['mean_ms'] / best_ms:.2f}" if best_ms else "-",
                f"{whole[policy]:.1f}" if policy in whole else "",
            )
            label = ""
        grid.add_section()
    return grid
