"""Tracing is a matter of its own thread; what export leaves and nobody needs is no operation."""

import threading

import torch
from torch import Tensor, nn
from torch.nn import functional

from partition.graphs.example import of_shape, parse
from partition.graphs.graph import Graph
from partition.graphs.tracing import trace
from tests.support.tiny_network import make


class _WhileTraced(nn.Module):
    """Calls and traces other networks in another thread in the middle of its own forward."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)
        self.others = (make().eval(),)  # in a tuple, so that it is no part of this network
        self.outputs: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        thread = threading.Thread(target=self._call)
        thread.start()
        thread.join(10.0)
        return self.layer(x)  # type: ignore[no-any-return] # untyped

    def _call(self) -> None:
        with torch.inference_mode():
            self.outputs.append(self.others[0](torch.zeros(1, 3, 64, 64)))


def test_a_network_called_in_another_thread_is_not_traced() -> None:
    module = _WhileTraced().eval()
    graph = Graph(module, of_shape((1, 4)))
    assert [tuple(output.shape) for output in module.outputs][:1] == [(1, 10)]
    assert "other" not in graph.text
    assert torch.is_tensor(module.outputs[0])


def test_two_networks_traced_at_once_are_as_if_traced_alone() -> None:
    alone = Graph(make().eval(), of_shape((1, 3, 64, 64))).text
    texts: list[str] = []
    start = threading.Barrier(4)

    def trace() -> None:
        start.wait(10.0)
        texts.extend(Graph(make().eval(), of_shape((1, 3, 64, 64))).text for _ in range(5))

    threads = [threading.Thread(target=trace) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    assert texts == [alone] * 20


def test_a_copy_left_by_dropout_is_no_operation_and_one_that_changes_the_layout_is() -> None:
    class Copies(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor, other: Tensor) -> Tensor:
            dropped = functional.dropout(self.first(x).relu(), training=self.training)
            laid_out = self.last(dropped).t().clone(memory_format=torch.contiguous_format)
            return laid_out + len(other)  # type: ignore[no-any-return]

    traced = trace(Copies().eval(), parse(["3x4", "2x2"]))
    copies = [node for node in traced.graph.nodes if node.target is torch.ops.aten.clone.default]
    assert traced.how == "export"
    assert [dict(node.kwargs) for node in copies] == [{"memory_format": torch.contiguous_format}]
