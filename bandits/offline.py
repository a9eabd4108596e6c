"""Early-exit experience: what a device knows of itself before it meets any server (the W of DW).

A run that stops at exit e touches only the device, so its row has zeros in the back, link and offload
columns. Front and back add up to the whole network in every arm, hence totals measured online cannot
tell device from edge coefficients; these rows can.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from bandits.arrays import Vector
from bandits.statistics import Statistics

DEFAULT_ROWS = 40


def next_exit(runs_done: Sequence[int]) -> int:
    """Return the exit to run next: the one run least, the earliest of equals.

    Stratification without a random number: after any number of runs the counts differ by at most one.

    Args:
        runs_done: runs so far, one count an exit.

    Raises:
        ValueError: no exits.
    """
    if not runs_done:
        raise ValueError("the network has no exits to run")
    return min(range(len(runs_done)), key=runs_done.__getitem__)


def traversal_weight(exits: int) -> float:
    """Weight of each row where every exit that a run passes is logged: 1 / exits.

    Rows of one run share its noise; counting each in full would claim more than was measured.

    Raises:
        ValueError: no exits.
    """
    if exits < 1:
        raise ValueError("the network has no exits to run")
    return 1.0 / exits


def experience(rows: Iterable[tuple[Vector, float]], dimension: int, *, weight: float = 1.0) -> Statistics:
    """Return the statistics of early-exit rows.

    Args:
        rows: (x, latency_s) of each run; x of shape (d,), zero outside the device columns.
        dimension: d.
        weight: in (0, 1].

    Raises:
        ValueError: a weight above 1, NaN, infinity, another shape.
    """
    if weight > 1.0:
        raise ValueError(f"weight is {weight}: early exits must not count more than online rows")
    collected = list(rows)
    if not collected:
        return Statistics.zeros(dimension)
    X = np.stack([x for x, _ in collected])
    y = np.array([latency_s for _, latency_s in collected])
    return Statistics.zeros(dimension).add_rows(X, y, weight)
