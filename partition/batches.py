"""One tail for the frames of several devices: stacked, run once, taken apart again.

What one device sends must never change another's answer: what cannot be decoded, or leads to NaN, costs its
own frame only, and a tail in which frames meet is not run so (`partition.batch_choice`). The answers equal
those of frames that run alone up to the rounding of another order of summation.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from bus.errors import RemoteProtocolError
from bus.tensors import Payload
from partition.partitioned import Decoded, PartitionedModel
from partition.results import Logits, TailResult, finite

_T = TypeVar("_T")


def run_tail_batch(
    model: PartitionedModel,
    cut: int,
    codec: str,
    dtype: str,
    shape: tuple[int, ...],
    payloads: Sequence[Payload],
    meet: int | None = None,
) -> tuple[TailResult | RemoteProtocolError, ...]:
    """Run the edge side of frames that came through the same arm; one outcome each, in their order.

    Args:
        model: whose tail.
        cut: as `PartitionedModel.run_tail` takes it, like the next three.
        codec: of the arm.
        dtype: announced.
        shape: announced.
        payloads: one a frame.
        meet: the cut from which on they run together, as `partition.batch_choice` found it; `cut` when None.

    Returns:
        Results, all with the times of the whole batch, or the errors that `run_tail` would raise.
    """
    started = time.perf_counter()
    found = [_tried(partial(model.decode, cut, codec, dtype, shape, payload)) for payload in payloads]
    decoded = time.perf_counter()
    good = [each for each in found if not isinstance(each, RemoteProtocolError)]
    rows = iter(_run(model, cut, good, meet))
    outcomes = [each if isinstance(each, RemoteProtocolError) else next(rows) for each in found]
    ended = time.perf_counter()
    decode_ms, tail_ms = (decoded - started) * 1e3, (ended - decoded) * 1e3
    return tuple(
        each if isinstance(each, RemoteProtocolError) else TailResult(each, decode_ms, tail_ms)
        for each in outcomes
    )


def _run(
    model: PartitionedModel, cut: int, frames: Sequence[Decoded], meet: int | None
) -> Sequence[Logits | RemoteProtocolError]:
    """Return each frame's logits, float32 (classes,)."""
    if len(frames) > 1:
        # Where it fails, alone each fails or works by itself.
        with suppress(RemoteProtocolError, RuntimeError):
            return [_tried(partial(finite, row)) for row in model.run_decoded(cut, frames, meet)]
    return [_tried(partial(_alone, model, cut, frame)) for frame in frames]


def _alone(model: PartitionedModel, cut: int, frame: Decoded) -> Logits:
    return finite(model.run_decoded(cut, [frame])[0])


def _tried(run: Callable[[], _T]) -> _T | RemoteProtocolError:
    """Return what it returns, or the error that only its own frame shall bear."""
    try:
        return run()
    except RemoteProtocolError as error:
        return error
