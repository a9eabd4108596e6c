"""Payloads for people: whatever is on the wire, within limits, and never an exception."""

import json
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bus.wire import encode
from cans.payloads import decode_payload
from tests.support.samples import SAMPLES


@pytest.mark.parametrize(("topic", "message"), SAMPLES)
def test_every_message_of_ours_is_shown_without_its_tensors(topic: Any, message: Any) -> None:
    shown = decode_payload(encode(topic, message))
    assert shown["kind"] == message.__struct_config__.tag
    assert "undecodable" not in shown
    json.dumps(shown)


def test_a_tensor_is_named_by_dtype_and_shape() -> None:
    payload = msgpack.packb({"payload": b"1234", "dtype": "uint8", "shape": [2, 2], "codec": "jpeg"})
    assert decode_payload(payload)["payload"] == "<4 bytes: uint8 2x2, jpeg>"
    payload = msgpack.packb({"gram": b"12345678", "dimension": 1, "other": b"x"})
    assert decode_payload(payload) == {
        "gram": "<8 bytes: float64, d = 1>",
        "dimension": 1,
        "other": "<1 bytes>",
    }


@given(st.binary(max_size=400))
@example(b"\x81\x80\x00")
def test_no_bytes_raise(payload: bytes) -> None:
    json.dumps(decode_payload(payload))


@pytest.mark.parametrize(
    "payload",
    [
        b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xdc\x0f\xff" + (b"\xdc\x0f\xff" + b"\x80" * 4095) * 4095,
        b"{" * 100_000,
        b"[" * 100_000,
        b"\xc7\xff\x01" + bytes(255),
        b"\xc7\x00\x01",
    ],
    ids=[
        "nested",
        "huge length",
        "a million empty maps",
        "nested JSON maps",
        "nested JSON arrays",
        "extension",
        "empty extension",
    ],
)
def test_what_would_fill_memory_or_stack_is_named_instead(payload: bytes) -> None:
    shown = decode_payload(payload)
    assert "undecodable" in shown


def test_an_empty_payload_is_null_and_json_is_read_as_json() -> None:
    assert decode_payload(b"") is None
    assert decode_payload(b'{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}


def test_a_map_keyed_by_anything_is_shown_with_its_keys_as_text() -> None:
    payload = b"\x84" + b"\x80\x00" + b"\x91\x01\x02" + b"\xc4\x02\xff\xfe\x03" + b"\xc0\x04"
    assert decode_payload(payload) == {"{}": 0, "[1]": 2, "<2 bytes>": 3, "None": 4}
