"""A slower edge worker, emulated: a multiple of what was computed, whatever else the machine does."""

import asyncio
from collections.abc import Mapping, Sequence

import msgspec
import pytest

from bus.address import BrokerAddress
from bus.errors import ConfigurationError
from bus.messages import ActivationRequest
from cans.edge_root import run_edge_as
from edge.batching import Batch, Batches
from edge.events import Failure, Output
from edge.served import Arms
from edge.settings import EdgeSettings
from lab.emulated_edge import StretchedTails
from tests.support.samples import SAMPLES

OUTPUT = Output(3, 0.5, "float32", (10,), memoryview(bytes(40)), 1.0, 4.0)


class _Tails:
    """Tails whose outcomes the test chooses; it implements `Tails`."""

    models: Mapping[str, Arms] = {"model": frozenset()}
    batches: Mapping[str, Batches] = {"model": {0: Batch(4, 2.0)}}
    names = "a network"

    def __init__(self) -> None:
        self.warm = False
        self.outcomes: tuple[Output | Failure, ...] = (OUTPUT, Failure("foreign", "not ours"))

    def warm_up(self) -> None:
        self.warm = True

    def run(self, requests: Sequence[ActivationRequest]) -> tuple[Output | Failure, ...]:
        return self.outcomes[: len(requests)]


def _run(computed_s: float, slowness: float) -> tuple[list[float], Sequence[Output | Failure]]:
    slept: list[float] = []
    clock = iter((10.0, 10.0 + computed_s))
    tails = StretchedTails(_Tails(), slowness, {}, slept.append, lambda: next(clock))
    return slept, tails.run([None, None])  # type: ignore[list-item] # a failure: nobody looks at them


def test_what_a_run_took_at_its_best_is_what_it_is_stretched_from() -> None:
    """Beside others the same work takes longer, which is not the emulated worker's fault."""
    (asked,) = (each for _, each in SAMPLES if isinstance(each, ActivationRequest))
    other = msgspec.structs.replace(asked, cut=asked.cut + 1)
    computed = iter((0.0, 0.5, 1.0, 1.3, 2.0, 2.6, 3.0, 3.4))
    slept: list[float] = []
    tails = StretchedTails(_Tails(), 2.0, {}, slept.append, lambda: next(computed))
    for request in (asked, asked, asked, other):
        tails.run([request])
    assert slept == pytest.approx([1.0, 0.6, 0.6, 0.8], abs=0.05)


def test_a_profile_says_what_a_frame_usually_takes_and_a_batch_saves_what_it_saves() -> None:
    (asked,) = (each for _, each in SAMPLES if isinstance(each, ActivationRequest))
    computed = iter((0.0, 0.5, 1.0, 1.4, 2.0, 2.6))
    slept: list[float] = []
    usual = {(asked.cut, asked.codec): 0.45}
    inner = _Tails()
    tails = StretchedTails(inner, 2.0, usual, slept.append, lambda: next(computed))
    tails.run([asked])
    tails.run([asked])
    inner.outcomes = (OUTPUT, OUTPUT)
    tails.run([asked, asked])
    assert slept == pytest.approx([0.9, 0.9, 0.9 * 0.6 / 0.4], abs=0.05)


def test_a_run_takes_a_multiple_of_what_was_computed_and_says_so() -> None:
    slept, (output, failure) = _run(0.5, 4.0)
    assert sum(slept) == pytest.approx(2.0, abs=0.05)
    assert isinstance(output, Output)
    assert output.tail_ms > 100.0 * OUTPUT.tail_ms
    assert output.tail_ms / output.decode_ms == pytest.approx(OUTPUT.tail_ms / OUTPUT.decode_ms)
    assert (output.top, output.payload) == (OUTPUT.top, OUTPUT.payload)
    assert failure == Failure("foreign", "not ours")


def test_nothing_is_made_faster_than_it_is() -> None:
    slept, (output, _) = _run(0.0, 4.0)
    assert slept == []
    assert output == OUTPUT


def test_all_else_is_the_real_ones() -> None:
    inner = _Tails()
    tails = StretchedTails(inner, 4.0)
    tails.warm_up()
    assert inner.warm
    assert (tails.models, tails.batches) == (inner.models, inner.batches)
    assert tails.names == "a network, emulated 4x slower"


@pytest.mark.parametrize(
    ("slowness", "more", "sentence"),
    [
        (0.5, {}, "can only be emulated slower"),
        (float("nan"), {}, "can only be emulated slower"),
        (2.0, {"device": "cuda"}, "compute in one thread"),
        (2.0, {"threads": 2}, "compute in one thread"),
    ],
)
def test_what_cannot_be_emulated_is_one_sentence(
    slowness: float, more: dict[str, str | int], sentence: str
) -> None:
    settings = EdgeSettings(id="edge-1", broker=BrokerAddress(), **more)  # type: ignore[arg-type] # a few fields
    with pytest.raises(ConfigurationError, match=sentence):
        asyncio.run(run_edge_as(settings, slowness))
