"""Random, truncated and oversized payloads on every topic: one error type, and memory stays flat."""

import contextlib
import random
import tracemalloc

import msgpack
import pytest

from bus.errors import RemoteProtocolError
from bus.topics import METRICS, TABLE, Form, Topic
from bus.wire import decode

ROUNDS = 10_000


def _try(topic: Topic, payload: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        decode(topic, payload)


def _nested(topic: Topic, depth: int) -> bytes:
    if topic.form is Form.JSON:
        return b'{"kind":"x","a":' + b"[" * depth + b"]" * depth + b"}"
    return b"\x81\xa1a" + b"\x91" * depth + b"\x01"


@pytest.mark.parametrize("topic", [row for row in TABLE if row is not METRICS], ids=lambda row: row.name)
def test_bytes_from_the_wire_raise_one_error_type_and_hold_no_memory(topic: Topic) -> None:
    draw = random.Random(11)
    kinds = ["infer", "result", "stats", "merged", "group", "feedback", "state", "future"]
    seeds = [
        msgpack.packb({"kind": kind, "v": version, "id": "a" * 30, "device": "cam-1", "payload": bytes(64)})
        for kind in kinds
        for version in (0, 1, 2, -1, 2**63, 1.5, "x")
    ]
    _try(topic, b"")
    tracemalloc.start()
    try:
        for number in range(ROUNDS):
            if number == ROUNDS // 10:
                tracemalloc.clear_traces()
            base = bytearray(draw.choice(seeds) if number % 2 else draw.randbytes(draw.randrange(80)))
            for _ in range(draw.randrange(4)):
                if base:
                    base[draw.randrange(len(base))] = draw.randrange(256)
            _try(topic, bytes(base[: draw.randrange(len(base) + 1)]) if number % 3 else bytes(base))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 200_000


@pytest.mark.parametrize("topic", [row for row in TABLE if row is not METRICS], ids=lambda row: row.name)
def test_the_oversized_and_the_deeply_nested_are_refused(topic: Topic) -> None:
    with pytest.raises(RemoteProtocolError, match="too_large"):
        decode(topic, bytes(topic.limit_bytes + 1))
    for depth in (100, 2_000):
        with pytest.raises(RemoteProtocolError):
            decode(topic, _nested(topic, depth))
