"""`python -m lab.arm_map TABLE`: which arms of a network can ever be best, and where, as text and as a map.

TABLE is a file of `cans profile --out`, or a name in `lab/tables/`. Times are those of the machine that was
profiled, times --slowness; the edge worker is so many times as fast as that device. docs/pruning.md says what
is proved, and what is not.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bus.errors import ConfigurationError
from lab.network_table import NetworkTable, load_table
from partition.pruning.arm_costs import ArmCosts, Ranges
from partition.pruning.best_map import (
    BestMap,
    MiddleGain,
    best_map,
    ends_of,
    in_words,
    log_axis,
    middle_gain,
    stretches,
)
from partition.pruning.dominance import DEFAULT_TOLERANCE, Point, Pruned, surviving

_RATES, _SPEEDUPS = 181, 121  # points of the map


def costs_of_table(table: NetworkTable, slowness: float = 1.0) -> ArmCosts:
    """Return the costs on a device `slowness` times as slow as the machine that measured the table.

    Raises:
        ConfigurationError: a slowness that is not finite and above 0.
    """
    if not 0.0 < slowness < np.inf:
        raise ConfigurationError(f"a device {slowness:g} times as slow will not do: give a number above 0")
    bytes_sent = np.array(table.payload_bytes)
    offload = bytes_sent > 0.0
    stretch = slowness / 1e3
    return ArmCosts(
        labels=table.arms,
        front_s=(np.array(table.head_ms) + np.array(table.encode_ms)) * stretch,
        payload_bytes=bytes_sent,
        edge_s=np.where(offload, table.edge_ms, 0.0) * stretch,
        offload=offload,
    )


def report(costs: ArmCosts, pruned: Pruned, found: BestMap, gain: MiddleGain) -> list[str]:
    """Return the lines of the report; it prunes once more, to say what no tolerance would leave."""
    exactly = len(surviving(costs, pruned.ranges, tolerance=0.0).kept)
    box, shares = pruned.ranges, found.shares()
    within = (
        f"{box.rate[0] / 1e6:g} to {box.rate[1] / 1e6:g} Mbit/s, an edge worker {box.speedup[0]:g} to "
        f"{box.speedup[1]:g} times as fast, a wait of {box.wait_s[0] * 1e3:g} to {box.wait_s[1] * 1e3:g} ms"
    )
    lines = [
        (
            f"{exactly} of {costs.count} arms can be best, {len(pruned.kept)} best or within "
            f"{pruned.tolerance:.0%} of the best, at {within}"
        ),
        f"share of the map (wait {found.wait_s * 1e3:g} ms), by how much an arm comes closest, and where:",
    ]
    lines += [
        f"  {costs.labels[kept.arm]:16s} {shares.get(kept.arm, 0.0):6.1%}   {kept.excess:+.1%} at "
        f"{_place(kept.at)}"
        for kept in pruned.kept
    ]
    lines.append("dropped, the arms that beat it, and by how much where it is closest:")
    for proof in pruned.dropped:
        rivals = ", ".join(costs.labels[rival] for rival in proof.rivals)
        lines.append(
            f"  {costs.labels[proof.arm]:16s} {rivals}: {proof.margin:.1%}, {proof.margin_s * 1e3:.3g} ms"
        )
    for speedup in log_axis(*box.speedup, 3).tolist():
        lines += in_words(stretches(costs, box.rate, speedup, found.wait_s), costs.labels, speedup)
    lines.append(
        f"an arm in the middle beats the best of {', '.join(costs.labels[end] for end in ends_of(costs))} on "
        f"{gain.share:.1%} of the map, at most by {gain.largest:.1%}: {costs.labels[gain.arm]} at "
        f"{gain.rate / 1e6:.3g} Mbit/s, speed-up {gain.speedup:.3g}, {gain.middle_s * 1e3:.4g} instead of "
        f"{gain.end_s * 1e3:.4g} ms"
    )
    return lines


def _place(at: Point) -> str:
    return f"{at.rate / 1e6:.3g} Mbit/s, speed-up {at.speedup:.3g}, wait {at.wait_s * 1e3:.3g} ms"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report, and draw the map if asked to."""
    options = _parser().parse_args(arguments)
    try:
        table = load_table(options.table)
        costs = costs_of_table(table, options.slowness)
        low_ms, high_ms = options.wait_ms
        low, high = options.mbit
        ranges = Ranges((low * 1e6, high * 1e6), tuple(options.speedup), (low_ms / 1e3, high_ms / 1e3))
        pruned = surviving(costs, ranges, tolerance=options.tolerance)
        rates, speedups = (
            log_axis(*span, count) for span, count in ((ranges.rate, _RATES), (ranges.speedup, _SPEEDUPS))
        )
        found = best_map(costs, rates, speedups, options.map_wait_ms / 1e3)
        gain = middle_gain(costs, found, ends_of(costs))
        print("\n".join(report(costs, pruned, found, gain)))
        if options.svg is not None:
            # Imported late: a report needs no matplotlib.
            from lab.arm_map_figure import draw  # noqa: PLC0415

            device = f"a device {options.slowness:g} x as slow as the profiled one"
            title = f"{table.name}, {device}, wait {options.map_wait_ms:g} ms"
            draw(found, costs.labels, options.svg, title=title, gain=gain)
    except ConfigurationError as error:
        print(f"arm_map: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    description, _, more = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(prog="python -m lab.arm_map", description=description, epilog=more)
    parser.add_argument("table", help="a file of cans profile, or a name in lab/tables/")
    for flag, low, high, said in (
        ("--mbit", 0.1, 100.0, "link rates, Mbit/s"),
        ("--speedup", 1.0, 50.0, "edge worker over device"),
        ("--wait-ms", 0.0, 100.0, "round trip and queue"),
    ):
        parser.add_argument(
            flag,
            nargs=2,
            type=float,
            metavar=("LOW", "HIGH"),
            default=[low, high],
            help=f"{said} ({low:g} {high:g})",
        )
    parser.add_argument("--map-wait-ms", type=float, default=10.0, help="wait that the map is drawn for (10)")
    parser.add_argument("--slowness", type=float, default=1.0, help="device over the profiled machine (1)")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=DEFAULT_TOLERANCE,
        help="how close to the best an arm may come and stay (0.05)",
    )
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the map")
    return parser


if __name__ == "__main__":
    sys.exit(main())
