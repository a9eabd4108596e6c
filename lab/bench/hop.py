"""What the broker costs as share of a frame: a shorter version of the experiment `lab/hop`.

By the time under way alone: in so few frames, what heads and tails happen to take would drown the hop.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

import lab
from lab.bench.rows import Row
from lab.hop.playing import measure
from lab.hop.rows import TCP
from lab.hop.shares import found
from lab.hop.spec import load

EXPERIMENT = Path(lab.__file__).parent / "experiments" / "hop.toml"


def run(*, quick: bool) -> Iterator[Row]:
    """Play one arm: over two links and a few frames quickly, else over all links, for a minute."""
    whole = load(EXPERIMENT)
    part = msgspec.structs.replace(whole, arms=whole.arms[:1], frames=8, repetitions=8)
    for each in found(measure(whole.quick() if quick else part)).figures:
        if each.transport != TCP:
            name = f"hop beyond TCP, share of a frame, {each.transport}: {each.arm}, {each.link}"
            yield Row(name, 100.0 * each.way.value, "%")
