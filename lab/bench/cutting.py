"""What cutting costs: head + tail against the whole, and the weights of all cuts against one model.

Of the built-in networks through all that a frame passes, lossless; of ten networks, most of them torch's own,
as graphs; and the tracing of a large one.
"""

import contextlib
import statistics
from collections.abc import Iterator
from functools import partial

from bus.errors import ConfigurationError, LocalProtocolError
from lab.bench.rows import Row, alternate
from partition.arms import Arm
from partition.graphs.cut_times import measure
from partition.graphs.example import parse
from partition.images import MovingCrops
from partition.networks.zoo import NAMES, load_model, open_any
from partition.partitioned import PartitionedModel, build

TIME_LIMIT = 1.05
MEMORY_LIMIT = 1.1
GRAPH_TIME_LIMIT = 1.03
GRAPH_MEMORY_LIMIT = 1.05
TRACING_LIMIT_S = 10.0
_FRAME = ("1x3x224x224",)
# As `cans partition` takes them. Those of libraries that are not installed are left out.
NETWORKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("mobilenet_v2", _FRAME),
    ("resnet18", _FRAME),
    ('torch.nn:LSTM({"input_size": 512, "hidden_size": 512, "num_layers": 2})', ("64x1x512",)),
    ('torch.nn:GRU({"input_size": 512, "hidden_size": 512, "num_layers": 2})', ("64x1x512",)),
    ('torch.nn:MultiheadAttention({"embed_dim": 512, "num_heads": 8})', ("196x1x512",) * 3),
    ('torch.nn:TransformerEncoderLayer({"d_model": 512, "nhead": 8})', ("196x1x512",)),
    ('torch.nn:TransformerDecoderLayer({"d_model": 512, "nhead": 8})', ("196x1x512", "128x1x512")),
    (
        'torch.nn:Transformer({"d_model": 512, "num_encoder_layers": 2, "num_decoder_layers": 2})',
        ("196x1x512", "128x1x512"),
    ),
    ('pytorchcv.model_provider:get_model({"name": "resnet50"})', _FRAME),
    ('pytorchcv.model_provider:get_model({"name": "mobilenetv3_large_w1"})', _FRAME),
)
# Some 1000 nodes for torch.export.
LARGE = (
    'torch.nn:Transformer({"d_model": 32, "nhead": 4, "num_encoder_layers": 7, "num_decoder_layers": 9, '
    '"dim_feedforward": 64})'
)


def run(*, quick: bool) -> Iterator[Row]:
    """Measure each built-in network."""
    for name in NAMES:
        model = build(load_model(name))
        ratio, label = worst_cut(model, rounds=8 if quick else 40)
        yield Row(f"{name}: head + tail / whole, worst cut ({label})", ratio, "ratio", TIME_LIMIT)
        yield Row(f"{name}: weights of all cuts / one model", weights_ratio(model), "ratio", MEMORY_LIMIT)
    yield from graphs(rounds=8 if quick else 30)


def graphs(*, rounds: int) -> Iterator[Row]:
    """Measure the ten networks as graphs, and how long the large one takes to trace."""
    found = {}
    for text, inputs in NETWORKS:
        with contextlib.suppress(ConfigurationError):  # a library that is not installed
            opened = open_any(text, example=parse(inputs))
            found[_short(text)] = measure(opened.module, opened.example, rounds=rounds)
    worst = max(found, key=lambda name: found[name].worst)
    label = f"{len(found)} networks: head + tail / the network itself, worst cut of all ({worst})"
    yield Row(label, found[worst].worst, "ratio", GRAPH_TIME_LIMIT)
    typical = statistics.median(each.worst for each in found.values())
    yield Row(f"{len(found)} networks: the same, median of the networks' worst cuts", typical, "ratio")
    heaviest = max(each.weights for each in found.values())
    label = f"{len(found)} networks: weights of all cuts / the network, most"
    yield Row(label, heaviest, "ratio", GRAPH_MEMORY_LIMIT)
    opened = open_any(LARGE, example=parse(["12x1x32", "8x1x32"]))
    large = measure(opened.module, opened.example, rounds=0)
    yield Row(f"tracing and finding the cuts of {large.nodes} nodes", large.traced_s, "s", TRACING_LIMIT_S)


def _short(text: str) -> str:
    """The name of a network in a row."""
    if "get_model" in text:
        return text.split('"')[3]
    return text.partition(":")[2].partition("(")[0] or text


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
