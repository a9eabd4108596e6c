"""SqueezeNet 1.1 is the network of that name, and can be cut."""

import torch

from partition.networks.squeezenet import SqueezeNet
from partition.networks.zoo import load_model
from partition.partitioned import build


def test_it_has_the_published_number_of_parameters() -> None:
    assert sum(parameter.numel() for parameter in SqueezeNet().parameters()) == 1_235_496


def test_it_is_named_by_its_callable_and_can_be_cut() -> None:
    network = load_model("partition.networks.squeezenet:SqueezeNet")
    model = build(network, codecs=["uint8", "int8-zstd"], threads=1)
    labels = {arm.label for arm in model.arms}
    assert {"0/uint8", "end/none"} < labels
    assert len(labels) >= 6  # some in the middle too
    with torch.inference_mode():
        assert network.module(torch.zeros(1, 3, 224, 224)).shape == (1, 1000)
