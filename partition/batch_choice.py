"""How many frames a tail takes at once: measured here and now, cut by cut, and only where nobody can tell.

A network may refuse several frames (a graph of fixed shapes), mix them (statistics over a batch, one scale
for all in dynamic quantisation), or be no faster for it. Each cut is tried beside hostile frames, of huge
numbers and of NaN, and timed; what does not stand apart or gains nothing runs frame by frame.
"""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from partition.arms import NO_CODEC, Arm
from partition.graphs.quiet import quiet
from partition.partitioned import Frame, PartitionedModel
from partition.preprocessing import normalise

# A batch that gains less, in frames a second, is not worth what its first frame waits for the last.
LEAST_GAIN = 1.1
# Largest difference of a logit over the largest logit: convolutions sum in another order for several frames.
AGREEMENT = 1e-4
# Wall-clock seconds of a start; cuts that were not tried by then run frame by frame.
LIMIT_S = 2.0
_LOUD = 1e3
_REPEATS = 2

Crossing = tuple[Tensor, ...]


def choose_batches(model: PartitionedModel, largest: int, *, limit_s: float = LIMIT_S) -> dict[int, int]:
    """Return, by cut, how many frames its tail takes at once; cuts that take one are left out.

    Args:
        model: warm, with its backends chosen.
        largest: the most that is asked for; 1 tries nothing.
        limit_s: see `LIMIT_S`.
    """
    if largest < 2:
        return {}
    frame = np.random.default_rng(0).integers(0, 256, (*model.input_size, 3), dtype=np.uint8)
    arms = {arm.cut: arm for arm in reversed(model.arms) if arm.codec != NO_CODEC}
    began = time.perf_counter()
    chosen = {}
    # The shortest tails first: they gain most, and take least of the time.
    for cut in sorted(arms, reverse=True):
        if time.perf_counter() - began > limit_s:
            break
        crossing = _received(model, frame, arms[cut])
        if _apart(model, cut, crossing, largest) and _gain(model, cut, crossing, largest) >= LEAST_GAIN:
            chosen[cut] = largest
    return chosen


def _received(model: PartitionedModel, frame: Frame, arm: Arm) -> Crossing:
    """Return what the tail of this arm is given."""
    head = model.run_head(frame, arm)
    assert head.payload is not None
    found = model.decode(arm.cut, arm.codec, head.dtype, head.shape, head.payload)
    return (normalise(found),) if isinstance(found, np.ndarray) else found


def _apart(model: PartitionedModel, cut: int, crossing: Crossing, size: int) -> bool:
    """Whether a frame's answer is the same first and last, and whoever stands between."""
    if not all(tensor.is_floating_point() for tensor in crossing):
        return False  # indices, masks: they cannot be tried with NaN, and what they may be is not known
    loud = tuple(tensor * _LOUD for tensor in crossing)
    broken = tuple(torch.full_like(tensor, torch.nan) for tensor in crossing)
    batch = [crossing, loud, broken, *[crossing] * max(1, size - 3)]
    alone = model.run_decoded(cut, [crossing])[0]
    try:
        with quiet():  # torch prints the graph that refuses
            rows = model.run_decoded(cut, batch)
    except Exception:  # noqa: BLE001 - torch and ONNX Runtime raise anything; alone it runs
        return False
    if rows.shape[1:] != alone.shape:
        return False
    # NaN, should any have come over, is not less than anything.
    return bool(np.abs(rows[[0, -1]] - alone).max() <= AGREEMENT * np.abs(alone).max())


def _gain(model: PartitionedModel, cut: int, crossing: Crossing, size: int) -> float:
    """Return how many times as many frames a second a batch gives as frames that run alone."""
    alone = _least_s(partial(model.run_decoded, cut, [crossing]))
    return size * alone / _least_s(partial(model.run_decoded, cut, [crossing] * size))


def _least_s(run: Callable[[], object]) -> float:
    """Return the shortest of some runs; what else the machine does only ever adds."""
    times = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)
