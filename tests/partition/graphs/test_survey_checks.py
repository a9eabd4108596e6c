"""The check of all places finds the one that is not exact, and only it."""

import re

import pytest
import torch
from torch import Tensor, fx, nn

from bus.errors import ConfigurationError
from partition.graphs.cuts import useful
from partition.graphs.example import Example, of_shape, parse
from partition.graphs.frontiers import MOST_TENSORS
from partition.graphs.graph import Graph
from partition.graphs.survey import check, survey
from partition.graphs.work import macs


@fx.wrap
def where_it_lies(x: Tensor) -> Tensor:
    """Depend on what no message carries: where in its memory the tensor begins."""
    return x + float(x.storage_offset())


class Slices(nn.Module):
    """Cut right after the slice, it answers otherwise: a received tensor begins at the beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 8), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        half = self.first(x)[:, 4:]
        return self.last(where_it_lies(half).relu())  # type: ignore[no-any-return]


def test_the_place_that_is_not_exact_is_found_and_only_it() -> None:
    graph = Graph(Slices().eval(), of_shape((1, 8)))
    assert graph.how == "symbolic"
    wrong = [
        place.nodes
        for place, same in zip(graph.frontiers, check(graph, graph.example), strict=True)
        if not same
    ]
    assert wrong == [("getitem",)]


def test_places_that_are_only_followed_link_by_link_are_what_running_them_says() -> None:
    graph = Graph(Slices().eval(), of_shape((3, 8)))
    worth = useful([p.nbytes for p in graph.frontiers], [macs(p.work) for p in graph.frontiers])
    assert len(worth) < len(graph.frontiers)  # or nothing is followed
    with torch.no_grad():
        whole = graph.module(*graph.example.tensors)
        run = [
            torch.equal(whole, graph.run_cut(place, graph.example.tensors, through_memory=True))
            for place in range(len(graph.frontiers))
        ]
    assert list(check(graph, graph.example)) == run
    assert not all(run)


class OwnParameter(nn.Module):
    """Hands a parameter of its own straight to a submodule, as networks with learned queries do."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.layer = nn.Parameter(torch.ones(1, 4)), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.layer(self.query).transpose(0, 1)  # type: ignore[no-any-return]


def test_torch_s_counter_counts_a_parameter_handed_to_a_submodule() -> None:
    module = OwnParameter().eval()
    found = survey(module, of_shape((1, 4)))
    assert found.macs == found.macs_by_torch == 4 * 4 + 4
    assert all(parameter.requires_grad for parameter in module.parameters())


class TwoOfThree(nn.Module):
    """Takes an input that it never reads."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor, unread: Tensor, y: Tensor) -> Tensor:
        assert unread.shape == x.shape
        return self.layer(x) + y  # type: ignore[no-any-return]


def test_an_input_that_is_never_read_does_not_stop_the_cuts() -> None:
    found = survey(TwoOfThree().eval(), parse(["1x4", "1x4", "1x4"]))
    assert found.exact
    assert len(found.cuts[0].tensors) == 3


class Sum(nn.Module):
    """Takes any number of inputs."""

    def forward(self, *parts: Tensor) -> Tensor:
        total = parts[0]
        for part in parts[1:]:
            total = (total + part).relu()
        return total


def test_a_call_may_have_more_inputs_than_a_cut_has_tensors() -> None:
    found = survey(Sum().eval(), parse(["1x4"] * (MOST_TENSORS + 2)))
    assert found.exact
    assert max(len(cut.tensors) for cut in found.cuts[1:]) <= MOST_TENSORS


class AsksWhetherItIsTraced(nn.Module):
    """Computes otherwise while it is exported; with ones, which the example may hold, nobody sees it."""

    def forward(self, x: Tensor) -> Tensor:
        return x**2 if torch.compiler.is_exporting() or not x.shape[0] else x.relu()


def test_a_network_of_which_nothing_could_be_checked_is_refused() -> None:
    example = Example((torch.ones(1, 4),))
    with pytest.raises(ConfigurationError, match="computes other numbers once traced"):
        survey(AsksWhetherItIsTraced().eval(), example)


class ReshapesAnExpandedTensor(nn.Module):
    """A view of one frame, a copy of several: torch.export writes an operation more for a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.first(x)[:, None].expand(-1, 3, -1)
        return self.last(wide.reshape(len(x) * 3, 8).relu())  # type: ignore[no-any-return]


def test_a_batch_that_is_traced_otherwise_is_checked_and_said() -> None:
    found = survey(ReshapesAnExpandedTensor().eval(), of_shape((1, 4)))
    assert found.how == "export"
    assert found.exact
    assert re.fullmatch(
        r"with batch 8 torch traces other operations: \d+ places instead of \d+, all exact", found.refused[8]
    )


def test_a_survey_runs_on_the_threads_it_is_given_and_leaves_those_that_were() -> None:
    seen: list[int] = []

    class Counts(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(torch.get_num_threads())
            return super().forward(x)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        survey(Counts(4, 2).eval(), of_shape((1, 4)))
        assert set(seen) == {1}
        survey(Counts(4, 2).eval(), of_shape((1, 4)), threads=3)
        assert set(seen) == {1, 3}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
