"""Which tails take several frames at once, and from where on: measured here and now, cut by cut.

A network may refuse several frames (a graph of fixed shapes), mix them (statistics over a batch, one scale
for all in dynamic quantisation), or be slower for it (early layers, whose tensors leave the caches). So each
cut is tried beside hostile frames, of huge numbers and of NaN, and timed. Frames meet at the cut that saves
most and run alone before it; what does not stand apart, or gains little, runs frame by frame.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from partition.arms import NO_CODEC, Arm
from partition.graphs.quiet import quiet
from partition.partitioned import Frame, PartitionedModel
from partition.preprocessing import normalise

# A tail that gains less, in frames a second, is not worth what its first frame waits for the last.
LEAST_GAIN = 1.1
# Largest difference of a logit over the largest logit: convolutions sum in another order for several frames.
AGREEMENT = 1e-4
# Wall-clock seconds of a start; no further place to meet is tried then.
LIMIT_S = 2.0
# Frames of a try; more gain a little more, and take their time.
TRIED = 4
_LOUD = 1e3
# Least part of a frame in what a run costs besides: timings scatter.
_LEAST_OWN = 0.05
_REPEATS = 2

Crossing = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Meeting:
    """How a tail takes several frames.

    Attributes:
        most: frames at once.
        meet: the cut from which on they run together.
        fixed: what a run costs besides its frames, in frames.
    """

    most: int
    meet: int
    fixed: float


@dataclass(frozen=True, slots=True)
class Tried:
    """What a cut's tail took.

    Attributes:
        cut: whose.
        alone_s: one frame.
        together_s: a frame of several; None where they do not stand apart, or were not tried.
    """

    cut: int
    alone_s: float
    together_s: float | None


def choose_batches(model: PartitionedModel, largest: int) -> dict[int, Meeting]:
    """Try a model's tails; return, by cut, how they take several frames.

    Args:
        model: warm, with its backends chosen.
        largest: the most frames that are asked for; 1 tries nothing.
    """
    return settle(try_tails(model), largest) if largest > 1 else {}


def settle(tried: Iterable[Tried], largest: int) -> dict[int, Meeting]:
    """Return, by cut, how a tail takes several frames; those that take one are left out. Pure.

    Args:
        tried: the last cut first.
        largest: the most frames that are asked for.
    """
    chosen: dict[int, Meeting] = {}
    meet, saved_s = None, 0.0  # what a frame saves by meeting there, whichever cut it comes from
    for each in tried:
        if each.together_s is not None and each.alone_s - each.together_s > saved_s:
            meet, saved_s = each.cut, each.alone_s - each.together_s
        if meet is not None and each.alone_s >= LEAST_GAIN * (each.alone_s - saved_s):
            # One frame takes fixed + own, each of several fixed / TRIED + own.
            fixed_s = saved_s * TRIED / (TRIED - 1)
            chosen[each.cut] = Meeting(
                largest, meet, fixed_s / max(each.alone_s - fixed_s, _LEAST_OWN * fixed_s)
            )
    return chosen


def try_tails(model: PartitionedModel, *, limit_s: float = LIMIT_S) -> list[Tried]:
    """Time the tails of a model, the shortest first: they take least of the time for it.

    Args:
        model: warm.
        limit_s: see `LIMIT_S`.
    """
    frame = np.random.default_rng(0).integers(0, 256, (*model.input_size, 3), dtype=np.uint8)
    arms = {arm.cut: arm for arm in reversed(model.arms) if arm.codec != NO_CODEC}
    began = time.perf_counter()
    tried = []
    for cut in sorted(arms, reverse=True):
        crossing = _received(model, frame, arms[cut])
        alone_s = _least_s(model, partial(model.run_decoded, cut, [crossing]))
        together_s = None
        if time.perf_counter() - began <= limit_s and _apart(model, cut, crossing):
            together_s = _least_s(model, partial(model.run_decoded, cut, [crossing] * TRIED)) / TRIED
        tried.append(Tried(cut, alone_s, together_s))
    return tried


def _received(model: PartitionedModel, frame: Frame, arm: Arm) -> Crossing:
    """Return what the tail of this arm is given."""
    head = model.run_head(frame, arm)
    assert head.payload is not None
    found = model.decode(arm.cut, arm.codec, head.dtype, head.shape, head.payload)
    return (normalise(found),) if isinstance(found, np.ndarray) else found


def _apart(model: PartitionedModel, cut: int, crossing: Crossing) -> bool:
    """Whether a frame's answer is the same first and last, and whoever stands between."""
    if not all(tensor.is_floating_point() for tensor in crossing):
        return False  # indices, masks: they cannot be tried with NaN, and what they may be is not known
    loud = tuple(tensor * _LOUD for tensor in crossing)
    broken = tuple(torch.full_like(tensor, torch.nan) for tensor in crossing)
    batch = [crossing, loud, broken, crossing]
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


def _least_s(model: PartitionedModel, run: Callable[[], object]) -> float:
    """Return the shortest of some runs; what else the machine does only ever adds."""
    # This thread's own time, as long as it computes itself: an edge worker starts beside others.
    clock = time.thread_time if model.device.type == "cpu" else time.perf_counter
    times = []
    for _ in range(_REPEATS):
        started = clock()
        run()
        times.append(clock() - started)
    return min(times)
