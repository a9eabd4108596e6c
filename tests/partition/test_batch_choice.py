"""Which tails take several frames at once: those whose frames stand apart, and that gain by it."""

import pytest

from partition.batch_choice import choose_batches
from partition.networks.zoo import load_model
from partition.partitioned import PartitionedModel, build

NO_LIMIT = float("inf")
GAIN = "partition.batch_choice.LEAST_GAIN"


def of(network: str) -> PartitionedModel:
    return build(load_model(network))


@pytest.mark.parametrize("largest", [2, 3, 5])
def test_where_any_gain_will_do_every_tail_takes_as_many_as_it_may(
    largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GAIN, 0.0)
    model = of("tests.support.tiny_network:make")
    cuts = {arm.cut for arm in model.arms[:-1]}
    assert choose_batches(model, largest, limit_s=NO_LIMIT) == dict.fromkeys(cuts, largest)


def test_where_no_gain_will_do_no_time_is_left_or_nobody_asks_each_frame_runs_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = of("tests.support.tiny_network:make")
    assert choose_batches(model, 1, limit_s=NO_LIMIT) == {}
    monkeypatch.setattr(GAIN, 0.0)
    assert choose_batches(model, 8, limit_s=-1.0) == {}
    monkeypatch.setattr(GAIN, float("inf"))
    assert choose_batches(model, 8, limit_s=NO_LIMIT) == {}


@pytest.mark.parametrize("network", ["Flat", "Summing", "Mixing"])
def test_a_network_that_refuses_several_frames_or_mixes_them_runs_each_alone(
    network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GAIN, 0.0)
    assert choose_batches(of(f"tests.support.batch_networks:{network}@64x64"), 4, limit_s=NO_LIMIT) == {}


def test_where_indices_cross_each_frame_runs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GAIN, 0.0)
    model = of("tests.support.foreign_networks:Chooses@64x64")
    whole = {cut for cut, each in enumerate(model.cuts) if {"int64"} & {spec.dtype for spec in each.tensors}}
    assert whole & {arm.cut for arm in model.arms[:-1]}
    assert not whole & choose_batches(model, 4, limit_s=NO_LIMIT).keys()
