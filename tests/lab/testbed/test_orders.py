"""What is said comes back as it was, and what is none ends nobody."""

import msgspec
import pytest

from bus.errors import RemoteProtocolError
from lab.simulator import spec
from lab.testbed.orders import (
    Busy,
    Enlist,
    Failed,
    Join,
    Keep,
    Leave,
    Left,
    Order,
    Play,
    Played,
    Player,
    Present,
    Report,
    Row,
    new_mark,
    read_order,
    read_report,
    whole,
)

JOIN = Join(
    number=1,
    seed=3,
    fps=4.0,
    deadline_ms=1000.0,
    fallback_at=0.7,
    patience=0.0,
    players=(
        Player(policy="default", id="a-p0-s1", type="a", learner=spec.Family(warm_start=40), seed=1),
        Player(policy="ans", id="a-p1-s1", type="a", learner=spec.Ans(a_s=0.1), seed=1),
    ),
)
ROW = Row(seq=3, arm="0/jpeg", by="edge", reason="", top=7, met=True, sent_bytes=9, stages={"total": 12.5})
PLAYED = Played(number=2, policy="ans", rows=(ROW,), lost={"4": "stopping"}, cpu_s=0.1, messages=1, bytes=100)


PRESENT = Present(
    number=1,
    mark="0f" * 8,
    label="a network",
    model="0" * 16,
    arms=("0/jpeg",),
    versions={},
    machine="a board",
)
ORDERS = [
    JOIN,
    Play(number=2, policy="ans", first=10, frames=10),
    Enlist(number=1, mark="0f" * 8),
    Keep(number=0),
    Leave(number=3, stay=True),
]


@pytest.mark.parametrize("order", ORDERS)
def test_orders(order: Order) -> None:
    assert read_order(msgspec.json.encode(order)) == order


@pytest.mark.parametrize(
    "report",
    [PLAYED, Failed(number=2, why="no such arm"), Left(number=3), PRESENT, Busy(number=1, silent_s=2.0)],
)
def test_reports(report: Report) -> None:
    assert read_report(msgspec.json.encode(report)) == report


def test_no_two_coordinators_have_one_mark() -> None:
    marks = {new_mark() for _ in range(100)}
    assert len(marks) == 100
    assert all(read_order(msgspec.json.encode(Keep(number=0, mark=mark))).mark == mark for mark in marks)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b'{"kind":"leave","number":1,"mark":"Z"}',
        b'{"kind":"dance","number":1}',
        b"\xff\x00",
        b"[" * 5000,
    ],
)
def test_nonsense(payload: bytes) -> None:
    for read in (read_order, read_report):
        with pytest.raises(RemoteProtocolError):
            read(payload)


def test_a_block_in_parts_is_a_block() -> None:
    first = Played(
        number=4,
        mark="m",
        policy="ans",
        rows=(ROW,),
        lost={"4": "gone"},
        cpu_s=0.5,
        messages=1,
        bytes=9,
        probe_ms=3.0,
    )
    rest = Played(
        number=5,
        mark="m",
        policy="ans",
        rows=(msgspec.structs.replace(ROW, seq=5),),
        lost={},
        cpu_s=0.25,
        messages=2,
        bytes=1,
    )
    block = whole((first, rest))
    assert block.frames == 3
    assert [row.seq for row in block.rows] == [3, 5]
    assert block == Played(
        number=5,
        mark="m",
        policy="ans",
        rows=block.rows,
        lost={"4": "gone"},
        cpu_s=0.75,
        messages=3,
        bytes=10,
        probe_ms=3.0,
    )
    assert whole((rest,)) == rest
