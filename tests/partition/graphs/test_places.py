"""What a person is told of where their network went wrong."""

import sys

import pytest
from torch import Tensor, nn

from partition.graphs.example import of_shape
from partition.graphs.places import function_in, place_of
from partition.graphs.tracing import call
from tests.support.foreign_networks import Skips, reversible


class _Fails(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _helper(x)


def _helper(x: Tensor) -> Tensor:
    raise ValueError(f"no good: {x.shape}")


def test_the_innermost_line_and_the_module_that_it_works_for_are_named() -> None:
    inner = _Fails()
    network = nn.Sequential(nn.ReLU(), nn.Sequential(nn.ReLU(), inner))
    with pytest.raises(ValueError, match="no good") as raised:
        call(network, of_shape((1, 4)))
    line = _helper.__code__.co_firstlineno + 1
    assert place_of(raised.value, network) == f" at test_places.py:{line} in _Fails (1.1)"
    # Of itself a network has no path; of another one nothing is known.
    assert place_of(raised.value, inner) == f" at test_places.py:{line} in _Fails"
    assert place_of(raised.value, nn.ReLU()) == f" at test_places.py:{line} in _Fails"


def test_a_line_that_torch_wrote_into_its_text_is_taken_and_else_nothing() -> None:
    said = RuntimeError('while in x\n  File "/home/anna/nets/unet.py", line 12, in forward\n    y = x.item()')
    assert place_of(said, nn.ReLU()) == " at unet.py:12"
    assert place_of(RuntimeError("out of memory"), nn.ReLU()) == ""


def test_the_first_autograd_function_is_found_and_whoever_watches_calls_goes_on() -> None:
    def watch(*_: object) -> None:
        """Watch as a profiler does."""

    network = reversible().eval()
    sys.setprofile(watch)
    try:
        found = function_in(network, lambda: call(network, of_shape((1, 8))))
        assert sys.getprofile() is watch
    finally:
        sys.setprofile(None)
    assert found.startswith(" _Reverse at foreign_networks.py:")
    assert found.endswith(" in _Reversible (1.1)")


def test_without_one_or_where_the_call_fails_there_is_nothing_to_say() -> None:
    network = Skips().eval()
    assert function_in(network, lambda: call(network, of_shape((1, 3, 8, 8)))) == ""
    assert function_in(network, lambda: call(network, of_shape((1, 4)))) == ""
