"""Which tails take several frames at once: those whose frames stand apart, and that gain by it."""

import pytest

from partition.batch_choice import Tried, choose_batches, settle, try_tails
from partition.networks.zoo import load_model
from partition.partitioned import PartitionedModel, build

NO_LIMIT = float("inf")


def of(network: str) -> PartitionedModel:
    return build(load_model(network))


def test_frames_meet_where_most_is_saved_and_run_alone_before_it() -> None:
    tried = [Tried(3, 0.002, 0.001), Tried(2, 0.005, 0.002), Tried(1, 0.009, 0.008), Tried(0, 0.010, None)]
    found = settle(tried, 8)
    assert {cut: (each.most, each.meet) for cut, each in found.items()} == {
        3: (8, 3),
        **dict.fromkeys((2, 1, 0), (8, 2)),
    }
    # A run costs 4/3 ms besides its frames where four save 1 ms each, and 4 ms where they save 3 ms.
    fixed = {cut: each.fixed for cut, each in found.items()}
    assert fixed == pytest.approx({3: 2.0, 2: 4.0, 1: 4.0 / 5.0, 0: 4.0 / 6.0})


def test_a_tail_of_which_little_is_saved_runs_frame_by_frame() -> None:
    tried = [Tried(2, 0.002, 0.001), Tried(1, 0.010, 0.010), Tried(0, 0.012, None)]
    assert settle(tried, 4).keys() == {2, 1}
    assert settle([Tried(1, 0.002, 0.002), Tried(0, 0.003, 0.004)], 4) == {}
    assert settle([Tried(1, 0.002, None)], 4) == {}


def test_four_frames_that_seem_to_cost_less_than_one_do_not_cost_nothing() -> None:
    assert settle([Tried(1, 0.004, 0.0005)], 8)[1].fixed == pytest.approx(20.0)


def test_each_tail_that_can_be_asked_for_is_tried_the_last_first() -> None:
    model = of("tests.support.tiny_network:make")
    cuts = sorted({arm.cut for arm in model.arms[:-1]}, reverse=True)
    for limit_s in (NO_LIMIT, -1.0):
        tried = try_tails(model, limit_s=limit_s)
        assert [each.cut for each in tried] == cuts
        assert all(each.alone_s > 0.0 for each in tried)
        assert all((each.together_s is not None) == (limit_s > 0.0) for each in tried)


def test_who_asks_for_no_batches_gets_none() -> None:
    model = of("tests.support.tiny_network:make")
    assert choose_batches(model, 1) == {}
    assert all(each.most == 3 for each in choose_batches(model, 3).values())


@pytest.mark.parametrize("network", ["Flat", "Summing", "Mixing"])
def test_a_network_that_refuses_several_frames_or_mixes_them_is_not_given_them(network: str) -> None:
    tried = try_tails(of(f"tests.support.batch_networks:{network}@64x64"), limit_s=NO_LIMIT)
    assert {each.together_s for each in tried} == {None}


def test_where_indices_cross_frames_do_not_meet() -> None:
    model = of("tests.support.foreign_networks:Chooses@64x64")
    whole = {cut for cut, each in enumerate(model.cuts) if "int64" in {spec.dtype for spec in each.tensors}}
    tried = {each.cut: each.together_s for each in try_tails(model, limit_s=NO_LIMIT)}
    assert whole & tried.keys()
    assert {tried[cut] for cut in whole & tried.keys()} == {None}
