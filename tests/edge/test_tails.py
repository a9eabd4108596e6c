"""The edge worker's own computing, with a real network: one outcome a request, whatever else fails."""

import numpy as np

from bus.messages import ActivationRequest
from bus.tensors import buffer_of
from edge.events import Failure, Output
from edge.tails import PartitionedTails
from partition.images import MovingCrops
from partition.networks.zoo import load_model
from partition.partitioned import PartitionedModel, build

TINY = "tests.support.tiny_network:make"


def request(model: PartitionedModel, number: int, payload: bytes | None = None) -> ActivationRequest:
    """Return what a device asks at the first arm; a payload of its own if none is given."""
    arm = model.arms[0]
    head = model.run_head(MovingCrops(number, model.input_size).frame(0), arm)
    assert head.payload is not None
    return ActivationRequest(
        id=f"1-{number}",
        device=f"cam-{number}",
        type="pi4",
        model=model.hash,
        cut=arm.cut,
        codec=arm.codec,
        dtype=head.dtype,
        shape=head.shape,
        seq=1,
        budget_ms=1000.0,
        payload=memoryview(bytes(head.payload) if payload is None else payload),
    )


def test_each_request_of_a_batch_has_its_own_outcome() -> None:
    model = build(load_model(TINY))
    tails = PartitionedTails((model,), largest_batch=4)
    assert tails.batches == {}
    tails.warm_up()
    assert all(each.most == 4 for each in tails.batches[model.hash].values())
    first, broken, last = tails.run([request(model, 0), request(model, 1, b"short"), request(model, 2)])
    assert isinstance(broken, Failure)
    assert broken.fault == "tensor"
    for number, outcome in ((0, first), (2, last)):
        asked = request(model, number)
        alone = model.run_tail(asked.cut, asked.codec, asked.dtype, asked.shape, asked.payload)
        assert isinstance(outcome, Output)
        assert (outcome.top, outcome.shape) == (int(np.argmax(alone.logits)), (10,))
        given = np.frombuffer(outcome.payload, np.float32)
        assert np.allclose(given, np.frombuffer(buffer_of(alone.logits), np.float32), rtol=1e-4, atol=1e-4)


def test_requests_for_a_model_that_went_meanwhile_fail_all() -> None:
    model = build(load_model(TINY))
    tails = PartitionedTails((model,), largest_batch=4)
    tails.warm_up()
    asked = [request(model, number) for number in range(2)]
    tails.drop(model.hash)
    assert tails.batches == {}
    outcomes = tails.run(asked)
    assert [each.fault for each in outcomes if isinstance(each, Failure)] == ["foreign", "foreign"]
