"""Bytes on a device's `infer` topic to an event for the session.

Whatever comes becomes exactly one event; nothing raises. This file must never look into an activation.
"""

import msgspec

from bus.connection import Delivery
from bus.errors import RemoteProtocolError
from bus.messages import ActivationRequest, Label
from bus.tensors import Payload
from bus.topics import INFER
from bus.wire import decode
from edge.events import RequestArrived, RequestBroken

# Echoed with every answer, so its length is bounded; ours are request ids.
LONGEST_CORRELATION_BYTES = 64


class _Peek(msgspec.Struct, frozen=True):
    """The id of a request, all else skipped."""

    id: Label


_PEEK = msgspec.msgpack.Decoder(_Peek)


def receive(device: str, delivery: Delivery) -> RequestArrived | RequestBroken:
    """Return what a delivery on `infer/{edge}/{device}` means.

    The answer goes to `reply/{device}` whatever response topic the request names: a stranger's choice of
    topic would make this worker publish anywhere.

    Args:
        device: of the topic.
        delivery: as it came.
    """
    properties = delivery.properties
    correlation = None if properties is None else properties.correlation_data
    if correlation is not None and len(correlation) > LONGEST_CORRELATION_BYTES:
        correlation = None
    if delivery.retained:
        return RequestBroken(device, "malformed", "requests are never retained", "", correlation)
    try:
        request = decode(INFER, delivery.payload, ActivationRequest)
    except RemoteProtocolError as error:
        request_id = "" if error.fault == "too_large" else _peek(delivery.payload)
        return RequestBroken(device, error.fault, error.detail, request_id, correlation)
    if request.device != device:
        detail = f"{device} sent a request of {request.device}"
        return RequestBroken(device, "wrong_sender", detail, request.id, correlation)
    return RequestArrived(device, request, correlation)


def _peek(payload: Payload) -> str:
    """Return the id, or nothing if it cannot be read."""
    try:
        return _PEEK.decode(payload).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError):
        return ""
