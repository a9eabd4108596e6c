"""Parts of recordings, and other topics for them."""

import math

import pytest

from bus.connection import Properties
from bus.recording.entries import Entry, Gap, Message
from bus.recording.moving import Mover
from bus.recording.parts import Part, numbered, stays
from bus.topics import FEEDBACK, STATE, Topics
from tests.support.recordings import BEGAN_NS, message

TOPICS = Topics()
ON = TOPICS.of(STATE, role="device", id="cam-1")
OTHER = TOPICS.of(STATE, role="device", id="cam-2")
SAID = TOPICS.of(FEEDBACK, type="pi4", device="cam-1")
FILM: tuple[Entry, ...] = (
    message(0, 0.0, ON, b"old", retained=True),
    message(1, 1.0, SAID, b"1"),
    message(2, 2.0, ON, b"new", qos=1),
    message(3, 2.5, OTHER, b"there", qos=1),
    message(4, 2.6, OTHER, b"", qos=1),
    Gap(5, BEGAN_NS, BEGAN_NS + 3_500_000_000, "disconnected", 0, 0.2),
    message(6, 4.0, SAID, b"2"),
    message(7, 5.0, SAID, b"3"),
)


def _said(part: Part) -> list[bytes | str]:
    return [each.payload if isinstance(each, Message) else each.kind for each in part.of(FILM)]


@pytest.mark.parametrize(
    ("from_s", "to_s", "left"),
    [
        (0.0, math.inf, [b"old", b"1", b"new", b"there", b"", "disconnected", b"2", b"3"]),
        (0.5, 2.0, [b"old", b"1", b"new"]),
        (3.0, 4.0, [b"new", "disconnected", b"2"]),
        (9.0, math.inf, [b"new"]),
        (9.0, 10.0, [b"new"]),
    ],
)
def test_a_part_is_what_came_then_after_what_was_retained_then(
    from_s: float, to_s: float, left: list[bytes | str]
) -> None:
    assert _said(Part("cans/v1", (), from_s, to_s)) == left


def test_what_is_retained_comes_as_for_who_subscribes_at_that_moment() -> None:
    first = next(Part("cans/v1", (), 3.0).of(FILM))
    assert isinstance(first, Message)
    assert first.retained
    assert first.steady_ns == first.wall_ns == BEGAN_NS + 3_000_000_000
    assert first.qos == 1


def test_topics_with_or_without_their_prefix() -> None:
    for filters in (("feedback/#",), ("cans/v1/feedback/+/+",)):
        assert _said(Part("cans/v1", filters)) == [b"1", "disconnected", b"2", b"3"]
    assert list(Part("cans/v1").of(())) == []


def test_a_row_of_the_table_tells_what_a_flag_does_not() -> None:
    assert stays(message(0, 0.0, ON), "cans/v1")
    assert not stays(message(0, 0.0, SAID), "cans/v1")
    assert stays(message(0, 0.0, "other", retained=True), "cans/v1")
    assert not stays(message(0, 0.0, "other"), "cans/v1")


def test_entries_are_numbered_anew() -> None:
    number = numbered()
    assert [number(entry).number for entry in FILM[4:]] == [0, 1, 2, 3]


def test_topics_are_moved_and_where_to_answer_too() -> None:
    mover = Mover("cans/v1", "replay")
    asked = mover.message(message(0, 0.0, ON, properties=Properties("cans/v1/reply/cam-1", b"7")))
    assert asked is not None
    assert (asked.topic, asked.properties) == (
        "replay/state/device/cam-1", Properties("replay/reply/cam-1", b"7"),
    )  # fmt: skip
    plain = mover.message(message(0, 0.0, "elsewhere", properties=Properties(correlation_data=b"7")))
    assert plain is not None
    assert (plain.topic, plain.properties) == ("replay/elsewhere", Properties(correlation_data=b"7"))
    assert mover.message(message(0, 0.0, "$SYS/load")) is None
