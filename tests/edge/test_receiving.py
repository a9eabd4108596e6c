"""Bytes from strangers: one event each, one error type, nothing dies, memory flat."""

import random
import tracemalloc
from collections import deque
from dataclasses import replace

import msgpack
import pytest

from bus.connection import Delivery, Properties
from bus.messages import ActivationRequest
from bus.topics import INFER
from bus.wire import encode
from edge import events as ev
from edge.receiving import receive
from edge.session import EdgeSession
from edge.tally import percentile
from edge.waiting import Waiting

REQUEST = ActivationRequest(
    id="1-7",
    device="cam-1",
    type="pi4",
    model="00112233445566aa",
    cut=0,
    codec="uint8",
    dtype="uint8",
    shape=(4,),
    seq=7,
    budget_ms=50.0,
    payload=memoryview(b"\x01\x02\x03\x04"),
)
GOOD = encode(INFER, REQUEST)


def delivery(payload: bytes) -> Delivery:
    return Delivery("cans/v1/infer/edge-1/cam-1", payload)


def test_a_good_request_is_itself_and_its_correlation_is_kept_within_bounds() -> None:
    asked = replace(
        delivery(GOOD), properties=Properties(response_topic="cans/v1/stats/x/y", correlation_data=b"7")
    )
    event = receive("cam-1", asked)
    assert isinstance(event, ev.RequestArrived)
    assert (event.device, event.request, event.correlation) == ("cam-1", REQUEST, b"7")
    long = replace(delivery(GOOD), properties=Properties(correlation_data=b"7" * 65))
    assert receive("cam-1", long).correlation is None


def mutated(**fields: object) -> bytes:
    packed: bytes = msgpack.packb({**msgpack.unpackb(GOOD), **fields})
    return packed


@pytest.mark.parametrize(
    ("payload", "fault", "request_id"),
    [
        (b"", "malformed", ""),
        (b"\xc1", "malformed", ""),
        (GOOD[:-1], "malformed", ""),
        (b"\0" * (INFER.limit_bytes + 1), "too_large", ""),
        (mutated(kind="pickle"), "unknown_kind", "1-7"),
        (mutated(v=2), "version", "1-7"),
        (mutated(budget_ms=float("nan")), "malformed", "1-7"),
        (mutated(shape=[0]), "malformed", "1-7"),
        (mutated(id="x" * 65), "malformed", ""),
        (mutated(device="cam-2"), "wrong_sender", "1-7"),
        (GOOD[:1] + b"\x81" * 100_000, "malformed", ""),
    ],
    ids=range(11),
)
def test_each_kind_of_wrong_is_named_and_the_id_read_where_it_can_be(
    payload: bytes, fault: str, request_id: str
) -> None:
    event = receive("cam-1", delivery(payload))
    assert isinstance(event, ev.RequestBroken)
    assert (event.fault, event.request_id) == (fault, request_id)


def test_a_retained_request_is_refused_or_every_reconnect_would_run_it_again() -> None:
    event = receive("cam-1", replace(delivery(GOOD), retained=True))
    assert isinstance(event, ev.RequestBroken)


def broken(draw: random.Random, kind: str) -> bytes:
    match kind:
        case "random":
            return draw.randbytes(draw.randrange(200))
        case "truncated":
            return GOOD[: draw.randrange(len(GOOD))]
        case "foreign":
            return mutated(model=f"{draw.getrandbits(64):016x}", id=f"f-{draw.random()}")
        case "wrong_sender":
            return mutated(device="cam-2", id=f"w-{draw.random()}")
        case _:
            return mutated(budget_ms=float("nan"), id=f"n-{draw.random()}")


@pytest.mark.parametrize("kind", ["random", "truncated", "foreign", "wrong_sender", "nan"])
def test_ten_thousand_bad_messages_are_counted_and_cost_no_memory(kind: str) -> None:
    draw = random.Random(11)
    session = EdgeSession("edge-1", {"0" * 16: frozenset({(0, "uint8")})})
    session.handle(ev.WorkerIdle(0), 0.0)
    grown = 0
    tracemalloc.start()
    try:
        for number in range(10_000):
            if number == 1000:
                grown = -tracemalloc.get_traced_memory()[0]
            session.handle(receive("cam-1", delivery(broken(draw, kind))), number * 0.001)
        grown += tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    session.check()
    assert session.tally.faults.total == 10_000
    assert session.tally.ended() == 10_000
    assert grown < 100_000


def test_an_empty_line_and_no_durations() -> None:
    assert Waiting(1).take() is None
    assert percentile(deque(), 0.5) == 0.0
    assert percentile(deque([3.0, 1.0, 2.0]), 0.5) == 2.0
