"""Work, contexts and hashes: counted, never typed in; the same in every process."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from partition.contexts import ALL_COLUMNS, Load, full_row, make
from partition.graphs.counting import WorkCounter
from partition.graphs.cuts import useful
from partition.graphs.example import of_shape
from partition.graphs.graph import Graph
from partition.graphs.work import CONV_MACS, LINEAR_MACS, LINEAR_OPS, macs, no_work
from partition.networks.identity import model_hash
from partition.networks.zoo import NAMES, Network, load_model
from partition.partitioned import PartitionedModel


@pytest.mark.parametrize(
    ("name", "conv", "linear", "cuts", "arms"),
    [("mobilenet_v2", 299_494_272, 1_280_000, 15, 43), ("resnet18", 1_813_561_344, 512_000, 8, 22)],
)
def test_golden_counts(
    name: str,
    conv: int,
    linear: int,
    cuts: int,
    arms: int,
    models: dict[str, PartitionedModel],
    networks: dict[str, Network],
) -> None:
    network = networks[name]
    graph = Graph(network.module, of_shape(network.input_shape))
    assert graph.work[CONV_MACS] == conv
    assert graph.work[LINEAR_MACS] == linear
    assert (len(models[name].cuts), len(models[name].arms)) == (cuts, arms)
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        network.module(torch.zeros(network.input_shape))
    assert flops.get_total_flops() == 2 * macs(graph.work)


def test_products_and_transposed_convolutions_are_counted_and_views_are_not() -> None:
    with torch.no_grad(), WorkCounter() as counter:
        x = torch.ones(2, 3, 4, 4)
        nn.functional.conv_transpose2d(x, torch.ones(3, 5, 2, 2))
        torch.bmm(torch.ones(2, 3, 4), torch.ones(2, 4, 5))
        torch.ones(3, 4) @ torch.ones(4, 5)
    with torch.no_grad(), WorkCounter() as views:
        x.flatten(1).view(2, 3, 16).transpose(1, 2)
    with FlopCounterMode(display=False) as flops:
        nn.functional.conv_transpose2d(x, torch.ones(3, 5, 2, 2))
        torch.bmm(torch.ones(2, 3, 4), torch.ones(2, 4, 5))
        torch.ones(3, 4) @ torch.ones(4, 5)
    assert 2 * macs(counter.work) == flops.get_total_flops()
    assert counter.work[LINEAR_OPS] == 2
    assert not views.work.any()


@pytest.mark.parametrize("name", NAMES)
def test_contexts_are_of_order_one_and_front_plus_back_is_the_whole(
    name: str, models: dict[str, PartitionedModel]
) -> None:
    model = models[name]
    schema, contexts = model.schema, model.contexts
    assert contexts.shape == (len(model.arms), len(schema)) == (len(model.arms), 14)
    assert not contexts.flags.writeable
    assert contexts.min() >= 0.0
    assert contexts.max() <= 4.0
    assert contexts.any(axis=0).all()
    offloading = contexts[:-1]
    for column in schema.columns:
        if column.startswith("front."):
            back = schema.columns.index(column.replace("front.", "back."))
            both = offloading[:, schema.columns.index(column)] + offloading[:, back]
            assert both == pytest.approx(1.0)
    assert contexts[-1][schema.front].max() == 1.0
    assert not contexts[-1][~schema.front].any()
    assert schema.columns[schema.link] == "link.bits"
    assert schema.columns[schema.offload] == "offload"
    assert offloading[:, schema.offload].tolist() == [1.0] * len(offloading)
    assert model.contexts[0, schema.link] == 4.0
    assert model.contexts[1, schema.link] == 1.0
    assert schema.fixed(contexts) == ("back.linear_macs",)  # no cut takes the last layer from the edge worker


def test_columns_of_zeros_and_twins_go_but_link_and_offload_stay() -> None:
    total = np.array([10, 0, 4, 2, 0, 2])
    loads = [
        Load(no_work(), 3.0, 3.0, 8.0, offload=True),
        Load(total, 0.0, 0.0, 0.0, offload=False),
    ]
    schema, contexts = make(loads, total, 1, ["a", "b"])
    assert schema.columns == (
        "front.conv_macs", "encode.elements", "back.conv_macs", "decode.elements", "link.bits", "offload",
    )  # fmt: skip
    assert contexts.tolist() == [[0, 3, 1, 3, 1, 1], [1, 0, 0, 0, 0, 0]]
    assert schema.fixed(contexts) == ("back.conv_macs",)
    assert schema.row(full_row(loads[0], total, 1)).tolist() == contexts[0].tolist()
    assert len(full_row(loads[0], total, 1)) == len(ALL_COLUMNS)
    other, _ = make(loads, total, 1, ["a", "c"])
    assert other.hash != schema.hash


def test_of_neighbours_with_equal_work_the_smallest_stays_and_no_cut_larger_than_an_earlier_one() -> None:
    #           input conv relu conv relu conv(small) pool  larger  fc/end
    elements = [100, 200, 200, 90, 90, 40, 10, 60, 5]
    macs_before = [0, 1, 1, 2, 2, 3, 3, 4, 9]
    assert useful(elements, macs_before) == (0, 4, 6, 8)
    assert useful([3, 2], [0, 1]) == (0, 1)
    # Before the first product only the input itself, after the last one only the end; a larger twin loses.
    assert useful([9, 8, 5, 7, 4, 3], [0, 0, 1, 1, 2, 2]) == (0, 2, 5)


@pytest.mark.parametrize("name", NAMES)
def test_hashes_are_the_same_in_another_process(name: str, models: dict[str, PartitionedModel]) -> None:
    code = (
        "from partition.networks.zoo import load_model; from partition.partitioned import build; "
        f"m = build(load_model({name!r}), threads=2); print(m.hash, m.schema.hash)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == [models[name].hash, models[name].schema.hash]


def test_the_hash_follows_weights_and_leaves_out_what_was_derived(
    networks: dict[str, Network],
) -> None:
    network = load_model("resnet18")
    graph = Graph(network.module, of_shape(network.input_shape))
    before = model_hash(network, graph)
    assert before == model_hash(networks["resnet18"], graph)
    with torch.no_grad():
        network.module.get_buffer("bn1.running_mean").add_(1e-7)
        assert model_hash(network, graph) == before
        network.module.get_parameter("conv1.weight")[0, 0, 0, 0] += 1.0
        assert model_hash(network, graph) != before
