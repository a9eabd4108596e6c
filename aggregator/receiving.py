"""Bytes on a device's `stats` topic to an event for the session.

Whatever comes becomes exactly one event; nothing raises. This file must never look into statistics.
"""

import msgspec

from aggregator.events import Number, UploadArrived, UploadBroken
from bus.errors import RemoteProtocolError
from bus.messages import Count, Hash, StatisticsUpload
from bus.tensors import Payload
from bus.topics import STATS
from bus.wire import decode


class _Peek(msgspec.Struct, frozen=True):
    """The name of an upload, all else skipped."""

    install: Hash
    boot: Count
    seq: Count


_PEEK = msgspec.msgpack.Decoder(_Peek)


def receive(device: str, type_: str, payload: Payload) -> UploadArrived | UploadBroken:
    """Return what a payload on `stats/{type}/{device}` means.

    Args:
        device: of the topic.
        type_: of the topic.
        payload: as it came.
    """
    try:
        upload = decode(STATS, payload, StatisticsUpload)
    except RemoteProtocolError as error:
        number = None if error.fault == "too_large" else _peek(payload)
        return UploadBroken(device, type_, error.fault, error.detail, number)
    if (upload.device, upload.type) != (device, type_):
        detail = f"{type_}/{device} sent an upload of {upload.type}/{upload.device}"
        number = Number(upload.install, upload.boot, upload.seq)
        return UploadBroken(device, type_, "wrong_sender", detail, number)
    return UploadArrived(upload)


def _peek(payload: Payload) -> Number | None:
    """Return which upload it would have been, if that much can be read."""
    try:
        peek = _PEEK.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError):
        return None
    return Number(peek.install, peek.boot, peek.seq)
