"""Deliveries to events: which topic, which message, and whether it is meant for us.

Pure. Whatever is wrong with bytes from the wire comes out as one event to be counted.
"""

from collections.abc import Callable

from bus.connection import Delivery
from bus.errors import RemoteProtocolError
from bus.messages import (
    GroupParameters,
    InferenceReply,
    QueueNotice,
    Rejection,
    State,
    UploadAck,
    UploadRefusal,
)
from bus.tensors import view
from bus.topics import ACK, GROUPS, QUEUE, REPLY, STATE, Address, Role, Topic, Topics
from bus.wire import decode
from device import events as e


def event_of(topics: Topics, delivery: Delivery) -> e.Event | None:
    """Return the event that a delivery is; None for what concerns nobody."""
    address = topics.parse(delivery.topic)
    read = None if address is None else _READERS.get(address.topic)
    if address is None or read is None:
        return None
    try:
        return read(delivery, address)
    except RemoteProtocolError as error:
        return e.BadMessageArrived(error.fault, error.detail)


def _acknowledgement(delivery: Delivery, _: Address) -> e.Event:
    answer = decode(ACK, delivery.payload)
    if isinstance(answer, UploadAck):
        return e.AckArrived(answer)
    assert isinstance(answer, UploadRefusal)  # the decoder knows no third kind
    return e.RefusalArrived(answer)


def _group(delivery: Delivery, _: Address) -> e.Event:
    return e.GroupBroadcast(decode(GROUPS, delivery.payload, GroupParameters))


def _reply(delivery: Delivery, _: Address) -> e.Event:
    decision = decode(REPLY, delivery.payload)
    if isinstance(decision, Rejection):
        return e.RejectionArrived(decision)
    assert isinstance(decision, InferenceReply)  # the decoder knows no third kind
    classes = view(decision.payload, decision.dtype, decision.shape).size
    if decision.top >= classes or decision.confidence > 1.0 + 1e-6:
        raise RemoteProtocolError("malformed", f"class {decision.top} of {classes}, or confidence over 1")
    return e.ReplyArrived(decision)


def _state(delivery: Delivery, address: Address) -> e.Event | None:
    if not memoryview(delivery.payload).nbytes:
        return None  # a retained state that was deleted
    state = decode(STATE, delivery.payload, State)
    if state.role != Role.EDGE:
        return None
    if state.id != address.fields["id"]:
        raise RemoteProtocolError("wrong_sender", f"the state of {state.id} on {delivery.topic}")
    return e.EdgeAnnounced(state)


def _queue(delivery: Delivery, address: Address) -> e.Event:
    notice = decode(QUEUE, delivery.payload, QueueNotice)
    if notice.edge != address.fields["edge"]:
        raise RemoteProtocolError("wrong_sender", f"the queue of {notice.edge} on {delivery.topic}")
    return e.QueueTold(notice.edge, notice.free_ms / 1000.0, notice.jobs)


_READERS: dict[Topic, Callable[[Delivery, Address], e.Event | None]] = {
    REPLY: _reply,
    ACK: _acknowledgement,
    GROUPS: _group,
    STATE: _state,
    QUEUE: _queue,
}
