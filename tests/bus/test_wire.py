"""The wire form is held by golden bytes: a change that breaks a running site shows as a diff here.

`python -m tests.bus.test_wire` (from the root) writes the golden files anew, after a deliberate change.
"""

import json
from pathlib import Path

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus import messages as m
from bus.errors import LocalProtocolError, PayloadTooLarge, RemoteProtocolError
from bus.stages import stages_of, unexplained_ms
from bus.topics import FEEDBACK, INFER, METRICS, REPLY, STATE, STATS, TABLE, WORDS, Form, Topic
from bus.wire import decode, encode, encode_metrics
from tests.support.samples import SAMPLES

GOLDEN = Path(__file__).parent / "golden"


def golden_name(topic: Topic, message: m.Message) -> Path:
    kind = type(message).__struct_config__.tag
    return GOLDEN / f"{topic.name}-{kind}.{'json' if topic.form is Form.JSON else 'msgpack'}"


@pytest.mark.parametrize(("topic", "message"), SAMPLES, ids=lambda value: getattr(value, "name", ""))
def test_golden_bytes(topic: Topic, message: m.Message) -> None:
    golden = golden_name(topic, message).read_bytes()
    assert encode(topic, message) == golden
    assert encode(topic, decode(topic, golden)) == golden


def test_every_kind_of_message_has_its_golden_bytes() -> None:
    assert {type(message) for _, message in SAMPLES} == set(m.Message.__subclasses__())
    assert {topic for topic, _ in SAMPLES} == set(TABLE) - {METRICS}
    assert {path.name for path in GOLDEN.iterdir()} == {golden_name(*sample).name for sample in SAMPLES}


@pytest.mark.parametrize(("topic", "message"), SAMPLES, ids=lambda value: getattr(value, "name", ""))
@pytest.mark.parametrize("ending", ["\n", "/x", "+", " "])
def test_no_text_that_is_decoded_can_break_a_topic(topic: Topic, message: m.Message, ending: str) -> None:
    """A name that `Topics.of` refuses would end whoever answers under it."""
    names = [each.name for each in msgspec.inspect.type_info(type(message)).fields if _is_name(each.type)]  # type: ignore[attr-defined]
    for name in names:
        changed = msgspec.structs.replace(message, **{name: getattr(message, name) + ending})
        with pytest.raises(RemoteProtocolError, match="malformed"):
            decode(topic, encode(topic, changed))


def _is_name(kind: object) -> bool:
    return isinstance(kind, msgspec.inspect.StrType) and kind.pattern is not None


@pytest.mark.parametrize(("topic", "message"), SAMPLES, ids=lambda value: getattr(value, "name", ""))
def test_an_untyped_library_reads_the_same(topic: Topic, message: m.Message) -> None:
    payload = encode(topic, message)
    untyped = json.loads(payload) if topic.form is Form.JSON else msgpack.unpackb(payload)
    assert untyped == msgspec.to_builtins(message, builtin_types=(bytes, memoryview)) | {
        name: bytes(value)
        for name, value in msgspec.structs.asdict(message).items()
        if isinstance(value, memoryview)
    } | {
        name: list(value)
        for name, value in msgspec.structs.asdict(message).items()
        if isinstance(value, tuple)
    } | {
        name: json.loads(msgspec.json.encode(value))
        for name, value in msgspec.structs.asdict(message).items()
        if isinstance(value, msgspec.Struct)
    }
    if topic in {FEEDBACK, STATE, WORDS}:
        assert all(not isinstance(leaf, dict | list) for leaf in untyped.values()), (
            "dashboards read flat JSON"
        )


def test_unknown_fields_are_skipped_and_unknown_kinds_refused() -> None:
    topic, message = SAMPLES[0]
    untyped = msgpack.unpackb(encode(topic, message))
    assert decode(topic, msgpack.packb(untyped | {"later": {"a": [1, {"b": None}]}})) == message
    with pytest.raises(RemoteProtocolError) as caught:
        decode(topic, msgpack.packb(untyped | {"kind": "later"}))
    assert caught.value.fault == "unknown_kind"


def test_an_edge_worker_that_says_nothing_of_its_arms_is_read_as_ever() -> None:
    older = (Path(__file__).parent / "older" / "state-state.json").read_bytes()
    sample = next(message for topic, message in SAMPLES if topic is STATE)
    assert decode(STATE, older, m.State) == msgspec.structs.replace(sample, arms="")


def test_an_upload_of_a_device_that_knows_no_columns_is_read_as_ever() -> None:
    older = (Path(__file__).parent / "older" / "stats-stats.msgpack").read_bytes()
    upload = decode(STATS, older, m.StatisticsUpload)
    assert upload.columns is msgspec.UNSET
    sample = next(message for topic, message in SAMPLES if topic is STATS)
    assert upload == msgspec.structs.replace(sample, columns=msgspec.UNSET)
    assert msgpack.unpackb(encode(STATS, upload)) == msgpack.unpackb(older) | {"common": ""}


def test_stages_of_nodes_that_do_not_say_them_all_are_read_as_ever() -> None:
    said = decode(FEEDBACK, (GOLDEN.parent / "older" / "feedback-feedback.json").read_bytes(), m.Feedback)
    assert (said.capture_ms, said.wait_ms, said.reply_ms, said.vain_ms, said.propensity) == (0.0,) * 5
    assert said.total_ms == 40.5
    older = (GOLDEN.parent / "older" / "reply-result.msgpack").read_bytes()
    reply = decode(REPLY, older, m.InferenceReply)
    assert (reply.reply_ms, reply.batch) == (0.0, 1)


def test_the_stages_of_the_sample_add_up() -> None:
    (said,) = [message for _, message in SAMPLES if isinstance(message, m.Feedback)]
    assert unexplained_ms(said) == 0.0
    assert stages_of(said)["tail"] == said.tail_ms
    assert unexplained_ms(msgspec.structs.replace(said, total_ms=50.0)) == 8.75


def test_a_kind_that_belongs_elsewhere_is_refused() -> None:
    rejection = encode(REPLY, SAMPLES[2][1])
    with pytest.raises(RemoteProtocolError) as caught:
        decode(INFER, rejection)
    assert caught.value.fault == "unknown_kind"
    with pytest.raises(RemoteProtocolError, match="Rejection is not expected here"):
        decode(REPLY, rejection, m.InferenceReply)


def test_a_newer_schema_is_refused_by_name() -> None:
    topic, message = SAMPLES[0]
    newer = msgpack.packb(msgpack.unpackb(encode(topic, message)) | {"v": m.SCHEMA_VERSION + 1})
    with pytest.raises(RemoteProtocolError) as caught:
        decode(topic, newer)
    assert caught.value.fault == "version"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("budget_ms", float("nan")),
        ("budget_ms", float("inf")),
        ("budget_ms", -1.0),
        ("device", "Cam/1"),
        ("device", "#"),
        ("model", "zz"),
        ("shape", [1] * 7),
        ("shape", [0]),
        ("shape", [2**40]),
        ("cut", -1),
        ("payload", "text"),
        ("id", "x" * 65),
        ("seq", 2**60),
    ],
)
def test_a_field_outside_its_limits(field: str, value: object) -> None:
    topic, message = SAMPLES[0]
    payload = msgpack.packb(msgpack.unpackb(encode(topic, message)) | {field: value})
    with pytest.raises(RemoteProtocolError) as caught:
        decode(topic, payload)
    assert caught.value.fault == "malformed"


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1a", b"\x81"])
def test_deep_nesting(opening: bytes) -> None:
    for prefix in (b"", b"\x82\xa1x"):
        with pytest.raises(RemoteProtocolError):
            decode(INFER, prefix + opening * 200_000)
    with pytest.raises(RemoteProtocolError):
        decode(STATE, b'{"x":' + b"[" * 4000)


def test_size_is_checked_before_the_decode_and_before_the_write() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(STATE, b" " * (STATE.limit_bytes + 1))
    assert caught.value.fault == "too_large"
    request = msgspec.structs.replace(SAMPLES[0][1], payload=memoryview(bytes(INFER.limit_bytes)))
    with pytest.raises(PayloadTooLarge) as refused:
        encode(INFER, request)
    assert refused.value.limit_bytes == INFER.limit_bytes
    assert refused.value.size_bytes > INFER.limit_bytes


def test_tensors_are_views_of_the_received_bytes() -> None:
    received = bytearray(encode(*SAMPLES[0]))
    request = decode(INFER, received, m.ActivationRequest)
    position = bytes(received).index(b"\x01\x02\x03\x04")
    received[position] = 9
    assert request.payload[0] == 9


def test_metrics_are_flat_numbers() -> None:
    assert json.loads(encode_metrics({"frames": 3, "tail_ms": 1.5})) == {"frames": 3, "tail_ms": 1.5}
    with pytest.raises(LocalProtocolError, match="finite"):
        encode_metrics({"tail_ms": float("nan")})
    with pytest.raises(PayloadTooLarge):
        encode_metrics({f"counter_{n}": n for n in range(1000)})
    with pytest.raises(LocalProtocolError, match="no schema"):
        decode(METRICS, b"{}")


@settings(max_examples=300)
@given(st.integers(0, len(SAMPLES) - 1), st.data())
def test_cut_flipped_and_spliced_bytes_raise_one_error_type(sample: int, data: st.DataObject) -> None:
    topic, message = SAMPLES[sample]
    payload = bytearray(encode(topic, message))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(payload) - 1))
        payload[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(payload)))
    for mangled in (bytes(payload), bytes(payload[:cut]), bytes(payload) + b"\xc1"):
        try:
            decode(topic, mangled)
        except RemoteProtocolError:
            continue


@given(st.binary(max_size=200), st.sampled_from([INFER, REPLY, STATS, FEEDBACK, STATE]))
def test_random_bytes_raise_one_error_type(payload: bytes, topic: Topic) -> None:
    with pytest.raises(RemoteProtocolError):
        decode(topic, payload)


if __name__ == "__main__":
    for sample in SAMPLES:
        golden_name(*sample).write_bytes(encode(*sample))
