import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import LocalProtocolError
from bus.names import NAME_PATTERN
from bus.topics import (
    ACK,
    FEEDBACK,
    GROUPS,
    INFER,
    KIB,
    LAB_TABLE,
    STATE,
    TABLE,
    WORDS,
    Address,
    Form,
    Role,
    Topics,
)  # fmt: skip

names = st.from_regex(NAME_PATTERN, fullmatch=True).filter(lambda word: "\n" not in word)


def test_a_topic_and_its_filter() -> None:
    topics = Topics()
    assert topics.of(INFER, edge="edge-1", device="cam-1") == "cans/v1/infer/edge-1/cam-1"
    assert topics.filter(INFER, edge="edge-1") == "cans/v1/infer/edge-1/+"
    assert topics.filter(STATE) == "cans/v1/state/+/+"
    assert Topics("plant/7").of(ACK, type="pi4", device="cam-1") == "plant/7/ack/pi4/cam-1"


def test_missing_unknown_and_impossible_fields_are_refused() -> None:
    topics = Topics()
    with pytest.raises(LocalProtocolError, match="takes the fields"):
        topics.of(INFER, edge="edge-1")
    with pytest.raises(LocalProtocolError, match="takes the fields"):
        topics.of(INFER, edge="edge-1", device="a", extra="b")
    with pytest.raises(LocalProtocolError, match="may not be a level"):
        topics.of(INFER, edge="edge-1", device="+")


def test_what_is_said_beside_a_row_stands_one_level_below_it() -> None:
    topics, fields = Topics(), {"type": "pi4", "model": "m"}
    assert topics.of(WORDS, **fields) == topics.of(GROUPS, **fields) + "/words"
    assert topics.filter(WORDS, type="pi4") == "cans/v1/groups/pi4/+/words"
    assert topics.parse("cans/v1/groups/pi4/m/words") == Address(WORDS, fields)
    assert topics.parse("cans/v1/groups/pi4/m/other") is None


@pytest.mark.parametrize("prefix", ["", "/cans", "cans//v1", "cans/#", "Cans"])
def test_a_prefix_that_no_broker_would_route_is_refused(prefix: str) -> None:
    with pytest.raises(LocalProtocolError, match="prefix"):
        Topics(prefix)


@given(st.sampled_from(TABLE), st.data())
def test_parse_is_the_inverse_of_of(topic: object, data: st.DataObject) -> None:
    row = next(row for row in TABLE if row is topic)
    fields = {field: data.draw(names) for field in row.fields}
    address = Topics().parse(Topics().of(row, **fields))
    assert address is not None
    assert address.topic is row
    assert address.fields == fields


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cans/v1",
        "cans/v1/",
        "cans/v2/state/edge/e",
        "cans/v1/state/edge",
        "cans/v1/state/edge/E",
        "cans/v1/nope/a",
    ],
)
def test_foreign_topics_parse_to_nothing(text: str) -> None:
    assert Topics().parse(text) is None


def test_the_table_keeps_its_promises() -> None:
    assert len({topic.template for topic in TABLE}) == len(TABLE)
    for topic in TABLE:
        assert all(field in topic.fields for _, field in topic.own)
        assert topic.form is Form.MSGPACK or topic.limit_bytes <= 4 * KIB, "dashboards read at most 4 KiB"
        assert Role.WATCHER not in topic.writers
    assert next(template for _, template in Topics().rows()) == "cans/v1/infer/{edge}/{device}"
    assert FEEDBACK.form.content_type == "application/json"


def test_a_testbeds_topics_are_no_rows_of_the_table() -> None:
    assert not {topic.name for topic in LAB_TABLE} & {topic.name for topic in TABLE}
    for topic in LAB_TABLE:
        assert Topics().parse(Topics().of(topic, device="cam-1")) is None
        assert {*topic.writers, *topic.readers} == {Role.COORDINATOR, Role.DEVICE}
