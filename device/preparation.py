"""Measurements that a device makes of itself before it begins: warm-start rows, and a profile for ANS.

Both run in the worker thread, on built-in frames, so that they take nothing from the source.
"""

from bandits.offline import next_exit
from device.compute import Compute
from device.events import ExitRow
from partition.images import MovingCrops


def run_warm_start(compute: Compute, rows: int, seed: int) -> tuple[ExitRow, ...]:
    """Return rows of early-exit experience, stratified over the exits.

    Args:
        compute: this device's.
        rows: how many.
        seed: of the built-in frames.
    """
    film = MovingCrops(seed, compute.input_size)
    for exit_index in range(compute.exit_count):
        compute.run_exits(film.frame(0), exit_index)  # the first run of each is slower than any later one
    runs = [0] * compute.exit_count
    found = []
    for row in range(rows):
        exit_index = next_exit(runs)
        found.append(compute.run_exits(film.frame(row), exit_index))
        runs[exit_index] += 1
    return tuple(found)


def time_exits(compute: Compute, seed: int) -> tuple[float, ...]:
    """Return seconds to each exit that may answer, and to the end; empty if none may.

    The greater of two runs each, after one that does not count: a deadline is held by what is not hoped for.
    """
    if not compute.plan.exits:
        return ()
    film = MovingCrops(seed, compute.input_size)
    found = []
    for exit_index in range(compute.exit_count):
        runs = [compute.run_exits(film.frame(turn), exit_index).latency_s for turn in range(3)]
        found.append(max(runs[1:]))
    return tuple(found)


def profile_heads(compute: Compute, seed: int) -> tuple[float, ...]:
    """Return seconds of head and encode for each arm, the lesser of two runs each."""
    film = MovingCrops(seed, compute.input_size)
    return tuple(
        min(
            (head.head_ms + head.encode_ms) / 1000.0
            for head in (compute.run_head(film.frame(turn), arm) for turn in range(2))
        )
        for arm in range(len(compute.plan.arms))
    )
