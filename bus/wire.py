"""Bytes to messages and back.

Size is checked before anything is decoded, types and limits while decoding; whatever is wrong leaves as
one `RemoteProtocolError`. Tensor fields come out as views of the received bytes.
This file must never run code that a message chose: no pickle, no object dtype, no extension types.
"""

import json
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, overload

import msgspec

from bus import messages as m
from bus.errors import LocalProtocolError, PayloadTooLarge, RemoteFault, RemoteProtocolError
from bus.tensors import Payload
from bus.topics import ACK, FEEDBACK, GROUPS, INFER, METRICS, QUEUE, REPLY, STATE, STATS, WORDS, Form, Topic

M = TypeVar("M", bound=m.Message)

_MSGPACK = msgspec.msgpack.Encoder()
_JSON = msgspec.json.Encoder()
_DECODERS: dict[Topic, msgspec.msgpack.Decoder[Any] | msgspec.json.Decoder[Any]] = {
    INFER: msgspec.msgpack.Decoder(m.ActivationRequest),
    REPLY: msgspec.msgpack.Decoder(m.InferenceReply | m.Rejection),
    STATS: msgspec.msgpack.Decoder(m.StatisticsUpload),
    ACK: msgspec.msgpack.Decoder(m.UploadAck | m.UploadRefusal),
    GROUPS: msgspec.msgpack.Decoder(m.GroupParameters),
    WORDS: msgspec.json.Decoder(m.GroupWords),
    FEEDBACK: msgspec.json.Decoder(m.Feedback),
    STATE: msgspec.json.Decoder(m.State),
    QUEUE: msgspec.json.Decoder(m.QueueNotice),
}


def kinds_of(topic: Topic) -> tuple[type[m.Message], ...]:
    """Return the messages that travel on a topic; none of ours for metrics, whose names are anybody's."""
    decoder = _DECODERS.get(topic)
    if decoder is None:
        return ()
    kind = decoder.type
    return get_args(kind) or (kind,)


def encode(topic: Topic, message: m.Message) -> bytes:
    """Return the payload of a message for its topic.

    Raises:
        PayloadTooLarge: if it is over the topic's limit.
    """
    payload = (_MSGPACK if topic.form is Form.MSGPACK else _JSON).encode(message)
    return within_limit(topic, payload)


def encode_metrics(values: Mapping[str, float]) -> bytes:
    """Return the flat JSON of a metrics message: number leaves, units in the names.

    Raises:
        LocalProtocolError: if a value is not a finite number.
        PayloadTooLarge: if there are too many.
    """
    try:
        text = json.dumps(dict(values), allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError) as error:
        raise LocalProtocolError(f"metrics must be finite numbers: {error}") from None
    return within_limit(METRICS, text.encode())


def within_limit(topic: Topic, payload: bytes) -> bytes:
    """Return the payload, or raise `PayloadTooLarge` with size and limit."""
    if len(payload) > topic.limit_bytes:
        raise PayloadTooLarge(len(payload), topic.limit_bytes, topic.template)
    return payload


@overload
def decode(topic: Topic, payload: Payload) -> m.Message: ...
@overload
def decode(topic: Topic, payload: Payload, kind: type[M] | tuple[type[M], ...]) -> M: ...
def decode(
    topic: Topic, payload: Payload, kind: type[m.Message] | tuple[type[m.Message], ...] = m.Message
) -> m.Message:
    """Return the message in a payload received on `topic`.

    Args:
        topic: its row in the table, which fixes form, limit and the kinds allowed.
        payload: the bytes; tensor fields of the result are views of them.
        kind: narrows the static type; checked.

    Raises:
        RemoteProtocolError: `too_large`, `version`, `unknown_kind` or `malformed`.
    """
    size = memoryview(payload).nbytes
    if size > topic.limit_bytes:
        raise RemoteProtocolError("too_large", f"{size} bytes on {topic.name}, {topic.limit_bytes} allowed")
    try:
        message = _DECODERS[topic].decode(payload)
    except KeyError:
        raise LocalProtocolError(f"messages on {topic.name} have no schema") from None
    except msgspec.ValidationError as error:
        fault: RemoteFault = "unknown_kind" if "$.kind" in str(error) else "malformed"
        raise RemoteProtocolError(fault, str(error)[:200]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        # RecursionError: msgspec skips unknown fields recursively, and a peer may nest them deeply.
        raise RemoteProtocolError("malformed", str(error)[:200]) from None
    if message.v > m.SCHEMA_VERSION:
        raise RemoteProtocolError("version", f"schema {message.v}, this side speaks {m.SCHEMA_VERSION}")
    if not isinstance(message, kind):
        raise RemoteProtocolError("unknown_kind", f"{type(message).__name__} is not expected here")
    return message
