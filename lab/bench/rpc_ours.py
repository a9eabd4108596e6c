"""Our own request and reply: typed messages over the bus, as a device and an edge worker exchange them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from bus.address import BrokerAddress
from bus.messages import ActivationRequest, Decision, InferenceReply
from bus.tensors import Payload
from bus.topics import INFER, REPLY
from bus.wire import decode, encode
from lab.transports.mqtt import ask_mqtt, serve_mqtt

_LOGITS = memoryview(bytes(4000))  # a thousand classes as float32, as our networks answer

AskTyped = Callable[[ActivationRequest], Awaitable[Decision]]


def request_of(payload_bytes: int) -> ActivationRequest:
    """A request whose activation has so many bytes."""
    return ActivationRequest(
        id="0123456789abcdef-1-1",
        device="dev-1",
        type="phone",
        model="0123456789abcdef",
        cut=7,
        codec="int8-zstd",
        dtype="uint8",
        shape=(payload_bytes,),
        seq=1,
        budget_ms=1000.0,
        payload=memoryview(bytes(payload_bytes)),
    )


def reply_to(request: ActivationRequest) -> InferenceReply:
    """The reply an edge worker would write."""
    return InferenceReply(
        id=request.id,
        edge="edge-1",
        top=1,
        confidence=0.5,
        dtype="float32",
        shape=(1000,),
        payload=_LOGITS,
        queue_ms=0.1,
        decode_ms=0.1,
        tail_ms=1.0,
        load=1.0,
    )


@asynccontextmanager
async def serve_ours(broker: BrokerAddress) -> AsyncIterator[None]:
    """Decode each request and answer it."""

    async def answer(payload: Payload) -> bytes:
        return encode(REPLY, reply_to(decode(INFER, payload, ActivationRequest)))

    async with serve_mqtt(answer, broker):
        yield


@asynccontextmanager
async def ask_ours(broker: BrokerAddress) -> AsyncIterator[AskTyped]:
    """Encode a request, publish it, wait for the reply and decode it."""
    async with ask_mqtt(broker) as ask_bytes:

        async def ask(request: ActivationRequest) -> Decision:
            return decode(REPLY, await ask_bytes(encode(INFER, request)), InferenceReply)

        yield ask
