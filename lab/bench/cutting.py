"""What cutting costs: head + tail against the whole, and the weights of all cuts against one model."""

import statistics
from collections.abc import Iterator
from functools import partial

from bus.errors import LocalProtocolError
from lab.bench.rows import Row, alternate
from partition.arms import Arm
from partition.images import MovingCrops
from partition.partitioned import PartitionedModel, build
from partition.zoo import NAMES, load_model

TIME_LIMIT = 1.05
MEMORY_LIMIT = 1.1


def run(*, quick: bool) -> Iterator[Row]:
    """Measure each built-in network."""
    for name in NAMES:
        model = build(load_model(name))
        ratio, label = worst_cut(model, rounds=8 if quick else 40)
        yield Row(f"{name}: head + tail / whole, worst cut ({label})", ratio, "ratio", TIME_LIMIT)
        yield Row(f"{name}: weights of all cuts / one model", weights_ratio(model), "ratio", MEMORY_LIMIT)


def worst_cut(model: PartitionedModel, *, rounds: int) -> tuple[float, str]:
    """Return the largest ratio of median times over the cuts, and whose it is.

    Through the lossless codec, so what crosses is a view and the rest is cutting.
    """
    frame = MovingCrops(1, model.input_size).frame(0)
    arms = [arm for arm in model.arms if arm.codec == "float32"]

    def split(arm: Arm) -> None:
        head = model.run_head(frame, arm)
        if head.payload is None:
            raise LocalProtocolError(f"{arm.label} sends nothing")
        model.run_tail(arm.cut, arm.codec, head.dtype, head.shape, head.payload)

    def whole() -> None:
        model.run_head(frame, model.device_only)

    worst, worst_label = 0.0, "-"
    for arm in arms:
        times = alternate([whole, partial(split, arm)], rounds=rounds)
        # The ratio of each pair, as neighbours in time share whatever else the machine does.
        ratio = statistics.median(cut / uncut for uncut, cut in zip(*times, strict=True))
        if ratio > worst:
            worst, worst_label = ratio, arm.label
    return worst, worst_label


def weights_ratio(model: PartitionedModel) -> float:
    """Return bytes of the distinct weight storages in heads and tails of all cuts, over one model's."""
    last = len(model.cuts) - 1
    whole = _storages(model, [(0, last)])
    every = _storages(model, [pair for cut in range(len(model.cuts)) for pair in ((0, cut), (cut, last))])
    return sum(every.values()) / sum(whole.values())


def _storages(model: PartitionedModel, pairs: list[tuple[int, int]]) -> dict[int, int]:
    """Address to size of each distinct weight storage in those pieces."""
    found: dict[int, int] = {}
    for start, stop in pairs:
        for tensor in model.piece(start, stop).state_dict(keep_vars=True).values():
            storage = tensor.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
    return found
