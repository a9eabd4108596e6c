"""Redacting: field by field, for every message there is."""

import msgspec
import pytest

from bus import messages as m
from bus.connection import Properties
from bus.recording.entries import Message
from bus.recording.redacting import Redactor
from bus.topics import FEEDBACK, INFER, METRICS, REPLY, STATE, Topic, Topics
from bus.wire import decode, encode, encode_metrics
from tests.support.samples import SAMPLES

TOPICS = Topics("villa/cans")
# What a person has chosen, or a camera seen; and what stays.
SECRET = {"field": "porch", "device": "porch-cam", "edge": "attic", "id": "porch-cam"}


def _on(topic: Topic, payload: bytes, **more: object) -> Message:
    fields = {name: SECRET.get(name, "pi4") for name in topic.fields}
    if "role" in fields:
        fields["role"] = "device"
    if "model" in fields:
        fields["model"] = "00112233445566aa"
    return Message(0, 1, 2, TOPICS.of(topic, **fields), payload, **more)  # type: ignore[arg-type]


def _renamed(message: m.Message) -> m.Message:
    """A sample of somebody's own names and words."""
    changed = {
        each.name: SECRET[each.name]
        for each in msgspec.structs.fields(type(message))
        if each.name in SECRET and not (each.name == "id" and not isinstance(message, m.State))
    }
    words = {
        each.name: "the porch of the villa"
        for each in msgspec.structs.fields(type(message))
        if each.name in {"detail", "text", "version"} and each.type is not int and "str" in str(each.type)
    }
    return msgspec.structs.replace(message, **changed, **words)


@pytest.mark.parametrize(("topic", "sample"), SAMPLES, ids=lambda each: type(each).__name__)
def test_of_every_message_no_name_no_tensor_and_no_sentence_is_left(topic: Topic, sample: m.Message) -> None:
    redactor = Redactor(TOPICS.prefix)
    message = _on(topic, bytes(encode(topic, _renamed(sample))))
    left = redactor.message(message)
    assert left is not None
    assert left.topic.startswith("cans/v1/")
    for word in ("porch", "attic", "villa", "00112233445566aa", "1111222233334444"):
        assert word.encode() not in left.payload
        assert word not in left.topic
    read = decode(topic, left.payload)  # by the same rules as ever
    assert type(read) is type(sample)
    for each in msgspec.structs.fields(type(read)):
        value = getattr(read, each.name)
        if isinstance(value, memoryview):
            assert value.nbytes == 0
        if each.name.endswith("_ms") or each.name in {"type", "cut", "codec", "arm", "seq", "state"}:
            assert value == getattr(sample, each.name)


def test_the_answer_is_taken_out() -> None:
    redactor = Redactor(TOPICS.prefix)
    for topic in (REPLY, FEEDBACK):
        (sample,) = (each for where, each in SAMPLES if where == topic and hasattr(each, "top"))
        left = redactor.message(_on(topic, bytes(encode(topic, sample))))
        assert left is not None
        read = decode(topic, left.payload)
        assert isinstance(read, m.InferenceReply | m.Feedback)
        assert (read.top, read.confidence) == (0, 0.0)


def test_who_asked_and_who_answered_still_fit_together() -> None:
    redactor = Redactor(TOPICS.prefix)
    by_topic = dict(reversed(SAMPLES))
    asked = redactor.message(_on(INFER, bytes(encode(INFER, by_topic[INFER]))))
    state = redactor.message(_on(STATE, bytes(encode(STATE, _renamed(by_topic[STATE])))))
    assert asked is not None
    assert state is not None
    assert asked.topic == "cans/v1/infer/edge-1/device-1"
    assert state.topic == "cans/v1/state/device/device-1"
    said = decode(INFER, asked.payload, m.ActivationRequest)
    sample = by_topic[INFER]
    assert isinstance(sample, m.ActivationRequest)
    assert said.id == "request-1"
    assert redactor.texts["device"] == {"device-1", "device-2"}  # the topic's, and the message's own
    assert "pi4" in redactor.texts["type"]


def test_a_request_keeps_its_boot_and_number_and_an_odd_one_becomes_a_number() -> None:
    redactor = Redactor(TOPICS.prefix)
    sample = dict(reversed(SAMPLES))[INFER]
    for id_, left_id in (
        ("1d2b0624c7929d4b-3-7", "0000000000000001-3-7"),
        ("the porch", "request-1"),
        ("the garden", "request-2"),
        ("the porch", "request-1"),
    ):
        odd = msgspec.structs.replace(sample, id=id_)
        left = redactor.message(_on(INFER, bytes(encode(INFER, odd))))
        assert left is not None
        assert decode(INFER, left.payload, m.ActivationRequest).id == left_id
    assert "request" not in redactor.texts  # there may be millions


def test_metrics_keep_their_numbers_and_properties_what_is_ours() -> None:
    redactor = Redactor(TOPICS.prefix)
    payload = encode_metrics({"tail_ms": 2.5, "jobs": 3})
    said = Properties("villa/cans/reply/porch-cam", b"7", "application/json", 3, (("who", "porch"),))
    left = redactor.message(_on(METRICS, payload, properties=said))
    assert left is not None
    assert msgspec.json.decode(left.payload) == {"tail_ms": 2.5, "jobs": 3}
    assert left.properties == Properties("cans/v1/reply/device-1", None, "application/json", 3, ())
    odd = redactor.message(_on(METRICS, b'{"jobs":3,"where":"porch"}', properties=Properties("porch")))
    assert odd is not None
    assert odd.payload == b'{"jobs":3}'
    assert odd.properties == Properties()


def test_what_nobody_knows_is_left_out_and_counted() -> None:
    redactor = Redactor(TOPICS.prefix)
    assert redactor.message(Message(0, 1, 2, "villa/cans/porch", b"{}")) is None
    assert redactor.message(Message(0, 1, 2, "zigbee/porch", b"{}")) is None
    for payload in (b"\xff", b"[1]", b'{"jobs":NaN}'):
        assert redactor.message(_on(METRICS, payload)) is None
    assert redactor.message(_on(STATE, b'{"porch":1}')) is None
    assert redactor.left_out == {"on a topic that is not in the table": 2, "that cannot be read": 4}
    empty = redactor.message(_on(STATE, b""))
    assert empty is not None
    assert empty.payload == b""


def test_the_new_file_says_when_and_by_what_and_not_where() -> None:
    about = {"version": "1", "began": "2026", "prefix": "villa/cans", "filters": "villa/#"}
    left = Redactor("villa/cans").about(about)
    assert left["began"] == "2026"
    assert not any("villa" in word for word in left.values())
