"""What a run of a network's tails costs besides its frames, on this machine: for a simulated edge worker.

    python -m lab.batch_costs MODEL --largest 8 --out FILE

An edge worker finds that out at its start, cut by cut (`partition.batch_choice`). Here the same is done some
times over, and the median kept: one start may fall into a bad moment.
"""

import argparse
import statistics
import sys
from collections import defaultdict
from pathlib import Path

import msgspec

from bus.errors import ConfigurationError
from lab.simulator.spec import EdgeBatch
from partition.backends.threads import asked
from partition.batch_choice import choose_batches
from partition.networks.zoo import load_model
from partition.partitioned import build

_STARTS = 5
# As `cans edge` has it unless it is told otherwise.
_BACKEND = "eager"


def costs_of(starts: list[dict[int, float]]) -> list[EdgeBatch]:
    """Return the median over starts, cut by cut; those that take one frame at most starts are left out."""
    found = defaultdict(list)
    for start in starts:
        for cut, fixed in start.items():
            found[cut].append(fixed)
    return [
        EdgeBatch(cut=cut, fixed=round(statistics.median(fixed), 3))
        for cut, fixed in sorted(found.items())
        if len(fixed) > len(starts) / 2
    ]


def main() -> int:
    """Measure, and write the file whole or not at all."""
    parser = argparse.ArgumentParser(prog="python -m lab.batch_costs", description=__doc__)
    parser.add_argument("model", help="as cans edge --model takes it")
    parser.add_argument("--weights", type=Path, help="file of them")
    parser.add_argument("--codecs", default="", help="names, comma separated; all by default")
    parser.add_argument("--largest", type=int, default=8, help="most frames of a run")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    given = parser.parse_args()
    try:
        network = build(
            load_model(given.model, weights=given.weights),
            codecs=tuple(given.codecs.split(",")) if given.codecs else None,
            threads=asked(None, _BACKEND),
            backend=_BACKEND,
        )
    except ConfigurationError as error:
        print(f"cans: {error}", file=sys.stderr)
        return 2
    network.choose_backends()
    network.warm_up()
    starts = [choose_batches(network, given.largest) for _ in range(_STARTS)]
    costs = costs_of([{cut: meeting.fixed for cut, meeting in start.items()} for start in starts])
    unfinished = given.out.with_suffix(".part")
    unfinished.write_bytes(msgspec.json.encode(costs))
    unfinished.replace(given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
