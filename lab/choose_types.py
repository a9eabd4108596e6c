"""How the demo's device types were chosen: `python -m lab.choose_types`.

Measures this machine and the payloads, computes the mean cost of every arm over a grid of slowness and link,
and prints which arm wins and by how much over the fixed policies. Link and edge are taken as idle: a frame
costs head + encode (times the slowness) + bits / rate + two delays + edge worker + what the bus itself costs.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lab.emulation import MachineProfile, load_profile, measure

# Two broker hops, the event loops and threads on the way: measured in the demo, rounded.
BUS_MS = 4.0
SLOWNESS = (1.5, 2.5, 4.0, 8.0, 12.0)
RATES_MBIT = (4.0, 8.0, 12.0, 20.0)
DELAYS_MS = (2.0, 10.0)


@dataclass(frozen=True, slots=True)
class Place:
    """A device type: how slow, and on what link."""

    slowness: float
    rate_mbit: float
    delay_ms: float


def costs_ms(profile: MachineProfile, place: Place) -> dict[str, float]:
    """Return the mean cost of every arm by its label."""
    costs: dict[str, float] = {}
    for arm, label in enumerate(profile.labels):
        cost = (profile.head_ms[arm] + profile.encode_ms[arm]) * place.slowness
        if profile.payload_bytes[arm]:
            cost += profile.payload_bytes[arm] * 8.0 / (place.rate_mbit * 1e3)
            cost += 2.0 * place.delay_ms + profile.edge_ms[arm] + BUS_MS
        costs[label] = cost
    return costs


def table(profile: MachineProfile, places: Sequence[Place]) -> Table:
    """Return what wins where, and by how much."""
    grid = Table(
        "slower", "Mbit/s", "delay ms", "best arm", "ms", "second", "ms", "device only", "uint8", "jpeg"
    )
    for place in places:
        costs = costs_ms(profile, place)
        (best, best_ms), (second, second_ms) = sorted(costs.items(), key=lambda item: item[1])[:2]
        fixed = (costs[profile.labels[-1]], costs["0/uint8"], costs["0/jpeg"])
        grid.add_row(
            f"{place.slowness:g}x",
            f"{place.rate_mbit:g}",
            f"{place.delay_ms:g}",
            best,
            f"{best_ms:.0f}",
            second,
            f"{second_ms:.0f}",
            *(f"{cost:.0f} ({cost / best_ms:.2f}x)" for cost in fixed),
        )
    return grid


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m lab.choose_types", description=__doc__)
    parser.add_argument("--profile", type=Path, help="a file of cans profile instead of measuring now")
    parser.add_argument("--model", default="mobilenet_v2")
    arguments = parser.parse_args()
    profile = load_profile(arguments.profile) if arguments.profile else measure(arguments.model)
    places = [Place(s, r, d) for d in DELAYS_MS for s in SLOWNESS for r in RATES_MBIT]
    Console(width=120).print(table(profile, places))
    return 0


if __name__ == "__main__":
    sys.exit(main())
