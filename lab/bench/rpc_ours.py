"""Our own request and reply: typed messages over the bus, as a device and an edge worker exchange them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from bus.address import BrokerAddress
from bus.connection import Connection, Delivery, Endpoint
from bus.messages import ActivationRequest, Decision, InferenceReply
from bus.mqtt import open_connection
from bus.topics import INFER, REPLY, Topics
from bus.wire import decode, encode

TOPICS = Topics("bench/v1")
_INFER = TOPICS.of(INFER, edge="edge-1", device="dev-1")
_REPLY = TOPICS.of(REPLY, device="dev-1")
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
    endpoint = Endpoint("bench-edge", subscriptions=((TOPICS.filter(INFER, edge="edge-1"), 0),))

    async def serve(connection: Connection) -> None:
        async for event in connection.events():
            if isinstance(event, Delivery):
                request = decode(INFER, event.payload, ActivationRequest)
                await connection.publish(_REPLY, encode(REPLY, reply_to(request)))

    async with open_connection(broker, endpoint) as connection:
        task = asyncio.get_running_loop().create_task(serve(connection), name="bench-edge")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


@asynccontextmanager
async def ask_ours(broker: BrokerAddress) -> AsyncIterator[AskTyped]:
    """Encode a request, publish it, wait for the reply and decode it."""
    endpoint = Endpoint("bench-device", subscriptions=((_REPLY, 0),))
    async with open_connection(broker, endpoint) as connection:
        events = connection.events()

        async def ask(request: ActivationRequest) -> Decision:
            await connection.publish(_INFER, encode(INFER, request))
            while True:
                event = await anext(events)
                if isinstance(event, Delivery):
                    return decode(REPLY, event.payload, InferenceReply)

        yield ask
