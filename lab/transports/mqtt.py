"""Our own bus through a broker: the topics of requests and replies of a device and an edge worker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bus.address import BrokerAddress
from bus.connection import Connection, Delivery, Endpoint
from bus.mqtt import open_connection
from bus.tensors import Payload
from bus.topics import INFER, REPLY, Topics
from lab.transports.asking import Answer, Ask, background

_TOPICS = Topics("bench/v1")
_INFER = _TOPICS.of(INFER, edge="edge-1", device="dev-1")
_REPLY = _TOPICS.of(REPLY, device="dev-1")


@asynccontextmanager
async def serve_mqtt(answer: Answer, broker: BrokerAddress) -> AsyncIterator[None]:
    """Answer what is published for the edge worker."""
    endpoint = Endpoint("bench-edge", subscriptions=((_TOPICS.filter(INFER, edge="edge-1"), INFER.qos),))

    async def serve(connection: Connection) -> None:
        async for event in connection.events():
            if isinstance(event, Delivery):
                await connection.publish(_REPLY, await answer(event.payload))

    async with open_connection(broker, endpoint) as connection, background(serve(connection)):
        yield


@asynccontextmanager
async def ask_mqtt(broker: BrokerAddress) -> AsyncIterator[Ask]:
    """Publish a request and wait for the reply; one at a time."""
    endpoint = Endpoint("bench-device", subscriptions=((_REPLY, REPLY.qos),))
    async with open_connection(broker, endpoint) as connection:
        events = connection.events()

        async def ask(request: bytes) -> Payload:
            await connection.publish(_INFER, request)
            while True:
                event = await anext(events)
                if isinstance(event, Delivery):
                    return event.payload

        yield ask
