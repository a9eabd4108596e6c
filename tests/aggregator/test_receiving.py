"""Bytes from strangers: one event each, nothing dies, memory flat; and what a good one costs."""

import random
import time
import tracemalloc

import msgpack
import numpy as np
import pytest

from aggregator import commands as do
from aggregator import events as ev
from aggregator.keys import Grouping
from aggregator.receiving import receive
from aggregator.session import AggregatorSession
from bus.messages import StatisticsUpload
from bus.statistics import pack_symmetric
from bus.tensors import buffer_of
from bus.topics import STATS
from bus.wire import encode


def payload_of(*, device: str = "cam-1", seq: int = 1, dimension: int = 15, rows: int = 20) -> bytes:
    draw = np.random.default_rng(seq)
    x = draw.uniform(-1.0, 1.0, (rows, dimension))
    y = draw.uniform(0.0, 1.0, rows)
    return encode(
        STATS,
        StatisticsUpload(
            device=device,
            type="pi4",
            model="0" * 16,
            schema="1" * 16,
            install="2" * 16,
            boot=1,
            seq=seq,
            phase="online",
            dimension=dimension,
            gram=pack_symmetric(x.T @ x),
            moment=buffer_of(x.T @ y),
            count=rows,
            sum_squares=float(y @ y),
        ),
    )


GOOD = payload_of()
NAN = buffer_of(np.full(15, np.nan)).tobytes()


def mutated(**fields: object) -> bytes:
    packed: bytes = msgpack.packb({**msgpack.unpackb(GOOD), **fields})
    return packed


@pytest.mark.parametrize(
    ("payload", "fault", "readable"),
    [
        (b"", "malformed", False),
        (GOOD[:-9], "malformed", False),
        (b"\0" * (STATS.limit_bytes + 1), "too_large", False),
        (mutated(kind="pickle"), "unknown_kind", True),
        (mutated(sum_squares=float("inf")), "malformed", True),
        (mutated(device="cam-2"), "wrong_sender", True),
        (mutated(type="pi5"), "wrong_sender", True),
        (mutated(install="x"), "malformed", False),
        (b"\x91" * 60_000, "malformed", False),
    ],
    ids=range(9),
)
def test_each_kind_of_wrong_is_named_and_numbered_where_it_can_be(
    payload: bytes, fault: str, *, readable: bool
) -> None:
    event = receive("cam-1", "pi4", payload)
    assert isinstance(event, ev.UploadBroken)
    assert (event.fault, event.number) == (fault, ev.Number("2" * 16, 1, 1) if readable else None)


def broken(draw: random.Random, kind: str) -> bytes:
    match kind:
        case "random":
            return draw.randbytes(draw.randrange(200))
        case "truncated":
            return GOOD[: draw.randrange(len(GOOD))]
        case "foreign":
            return mutated(dimension=draw.randrange(1, 15), schema=f"{draw.getrandbits(64):016x}")
        case "wrong_sender":
            return mutated(device=f"cam-{draw.randrange(2, 10**9)}")
        case _:
            return mutated(moment=NAN, device="cam-1", seq=draw.randrange(1000))


@pytest.mark.parametrize("kind", ["random", "truncated", "foreign", "wrong_sender", "nan"])
def test_ten_thousand_bad_messages_are_counted_and_cost_no_memory(kind: str) -> None:
    draw = random.Random(11)
    session = AggregatorSession(Grouping({}), origin="3" * 16)
    session.handle(ev.UploadArrived(upload := _good()), 0.0)
    session.handle(ev.SnapshotSaved(), 0.0)
    before = session.ledger.dump()
    grown = 0
    tracemalloc.start()
    try:
        for number in range(10_000):
            if number == 1000:
                grown = -tracemalloc.get_traced_memory()[0]
            session.handle(receive("cam-1", "pi4", broken(draw, kind)), number * 0.001)
        grown += tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    session.check()
    # NaN under the number of what is merged is a duplicate, and no fault is looked for in it.
    assert session.tally.faults.total + session.tally.duplicates == 10_000
    assert session.tally.merged == 1
    assert session.ledger.dump() == before
    assert upload.seq == 1
    assert grown < 100_000


def _good() -> StatisticsUpload:
    event = receive("cam-1", "pi4", GOOD)
    assert isinstance(event, ev.UploadArrived)
    return event.upload


def test_thousands_are_merged_a_second() -> None:
    """A generous floor for a busy machine; the benchmark holds the real limit of 5,000."""
    payloads = [payload_of(seq=seq) for seq in range(1, 1001)]
    session = AggregatorSession(Grouping({}), origin="3" * 16)
    began = time.perf_counter()
    for payload in payloads:
        commands = session.handle(receive("cam-1", "pi4", payload), 0.0)
        if any(isinstance(command, do.SaveSnapshot) for command in commands):
            continue  # never saved: what is timed is decode, validation and merge
    a_second = len(payloads) / (time.perf_counter() - began)
    assert session.tally.merged == 1000
    assert a_second > 500
    print(f"{a_second:.0f} uploads a second")  # noqa: T201 - the figure, for `pytest -s`
