"""What runs a piece fastest here: each backend against eager, head and tail of a middle cut, side by side.

Only the one that is kept has a limit, in runs that the choice has not seen: choosing must not end below
eager. A backend that is missing or refused has no row. torch.compile is left out of a quick run: it takes a
quarter of a minute a piece.
"""

from collections.abc import Iterator

from lab.bench.rows import Row
from partition.backends import NAMES
from partition.networks.zoo import NAMES as NETWORKS
from partition.networks.zoo import load_model
from partition.partitioned import build
from partition.profiles.backends import all_backends, measure

LIMIT = 1.0
# Not the same function: what it gains does not count as the best.
_LOSSY = "quantised"


def run(*, quick: bool) -> Iterator[Row]:
    """Measure each built-in network."""
    names = [name for name in NAMES if name != _LOSSY and not (quick and name == "compiled")]
    repeats = 5 if quick else 30
    for network in NETWORKS:
        model = build(load_model(network))
        for each in measure(model, all_backends(1, names), threads=1, repeats=repeats):
            eager, *others = each.choice.trials
            piece = f"{network}: {each.side} at {each.cut}"
            for trial in others:
                if trial.seconds is not None and eager.seconds is not None:
                    yield Row(f"{piece}: {trial.backend}", eager.seconds / trial.seconds, "x of eager")
            kept = each.choice.backend
            # Against itself eager is above 1 as often as below.
            limit = None if kept == eager.backend else LIMIT
            yield Row(
                f"{piece}: kept ({kept}), timed again", each.again(repeats), "x of eager", limit, "least"
            )
