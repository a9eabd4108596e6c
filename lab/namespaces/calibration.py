"""The CPU quota under which a network takes what a device type says: tried, not computed.

    python -m lab.namespaces.calibration MODEL --type NAME=SLOWNESS=MS ... --out FILE

A device that has rested begins with what its quota has left, at any moment of a period, and the kernel looks
at ticks only. So one nth of a processor is not n times slower for work of some ticks: 0.8 of that was seen.
Here the whole network is run as devices run it, after rests, and the share changed until its mean is as set.
"""

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from bus.errors import ConfigurationError
from lab.marks import mark
from lab.namespaces.names import LARGEST_SITE, Names, run_of
from lab.namespaces.quota import CpuGroups, enter, remove, require_groups
from lab.namespaces.quota_check import QuotaChecked
from partition.backends.threads import asked
from partition.networks.zoo import load_model
from partition.partitioned import build

_ROUNDS = 10
# As `cans device` has it unless it is told otherwise: other threads would use the quota up together.
_BACKEND = "eager"
_RUNS = 16
# More than the longest period: whatever a quota has left by then, it has always.
_REST_S = (0.05, 0.35)


def calibrate(
    set_slowness: Callable[[float], None], take_ms: Callable[[], float], slowness: float, wanted_ms: float
) -> QuotaChecked:
    """Change the share until the mean is near enough, twice: once may be a moment when the machine was busy.

    Returns:
        The two together, or the nearest that was tried.

    Args:
        set_slowness: gives whoever works 1 / slowness of a processor.
        take_ms: works after a rest, and returns how long that took.
        slowness: where to begin.
        wanted_ms: what it should take.
    """
    tried: list[QuotaChecked] = []
    for _ in range(_ROUNDS):
        set_slowness(slowness)
        # The median, for a moment of somebody else's; what a quota does to single runs is small beside it.
        whole_ms = statistics.median(take_ms() for _ in range(_RUNS))
        tried.append(QuotaChecked(wanted_ms=wanted_ms, whole_ms=whole_ms, slowness=slowness))
        again = [each for each in tried[-2:] if each.slowness == slowness]
        if len(again) == 2:
            both = msgspec.structs.replace(
                again[0], whole_ms=statistics.mean(each.whole_ms for each in again)
            )
            if both.as_set:
                return both
        elif tried[-1].as_set:
            continue
        slowness = max(1.0, slowness * wanted_ms / whole_ms)
    return min(tried, key=lambda each: abs(each.off))


@contextmanager
def _in_group(groups: CpuGroups) -> Iterator[Path]:
    """Have this process in a cgroup of its own for the block."""
    # Named as what belongs to a run, so that a killed one's is found and removed.
    group = groups.make(Names(run_of(mark()), LARGEST_SITE, 0).namespace, 1.0)
    try:
        enter(group)
        yield group
    finally:
        groups.leave()
        remove(group)


def _worker(model: str) -> Callable[[], float]:
    """Load a network as devices do; return what runs it once after a rest."""
    network = build(load_model(model), codecs=("uint8",), threads=asked(None, _BACKEND), backend=_BACKEND)
    network.choose_backends()
    network.warm_up()
    frame = np.zeros((*network.input_size[:2], 3), np.uint8)
    rests = random.Random(0)  # noqa: S311 - no secret

    def take_ms() -> float:
        time.sleep(rests.uniform(*_REST_S))
        began = time.perf_counter()
        network.run_head(frame, network.device_only)
        return 1e3 * (time.perf_counter() - began)

    return take_ms


def _type(text: str) -> tuple[str, float, float]:
    name, slowness, wanted_ms = text.split("=")
    return name, float(slowness), float(wanted_ms)


def main() -> int:
    """Calibrate every type, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m lab.namespaces.calibration", description=__doc__)
    parser.add_argument("model", help="as cans device --model takes it")
    parser.add_argument("--type", action="append", default=[], type=_type, help="NAME=SLOWNESS=MS")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write, type to what was found")
    given = parser.parse_args()
    found: dict[str, QuotaChecked] = {}
    try:
        groups = require_groups()
        take_ms = _worker(given.model)
        with _in_group(groups) as group:
            for name, slowness, wanted_ms in given.type:
                found[name] = calibrate(
                    lambda share: groups.change(group, share), take_ms, slowness, wanted_ms
                )
    except ConfigurationError as error:
        print(f"cans: {error}", file=sys.stderr)
        return 2
    unfinished = given.out.with_suffix(f".{os.getpid()}")
    unfinished.write_text(json.dumps(msgspec.to_builtins(found), indent=1) + "\n")
    unfinished.replace(given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
