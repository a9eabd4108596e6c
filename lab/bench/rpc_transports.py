"""Two more ways to ask and be answered, for comparison: raw aiomqtt and ZeroMQ.

Both carry opaque bytes: the very bytes of our typed request and reply. More in `lab/transports/`.
"""

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiomqtt
import zmq
import zmq.asyncio

from lab.transports.asking import Answer, Ask, background

_TCP_NODELAY = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]


@asynccontextmanager
async def serve_zmq(answer: Answer) -> AsyncIterator[int]:
    """Serve a REP socket; yields the port."""
    with zmq.asyncio.Context() as context, context.socket(zmq.REP) as replier:
        port = replier.bind_to_random_port("tcp://127.0.0.1")

        async def serve() -> None:
            while True:
                await replier.send(await answer(await replier.recv()))

        async with background(serve()):
            yield port


@asynccontextmanager
async def ask_zmq(port: int) -> AsyncIterator[Ask]:
    """Ask over a REQ socket."""
    with zmq.asyncio.Context() as context, context.socket(zmq.REQ) as requester:
        requester.connect(f"tcp://127.0.0.1:{port}")

        async def ask(request: bytes) -> bytes:
            await requester.send(request)
            return await requester.recv()

        yield ask


@asynccontextmanager
async def serve_aiomqtt(answer: Answer, broker_port: int) -> AsyncIterator[None]:
    """Answer on a topic, at QoS 0, with nothing of ours in between."""
    async with aiomqtt.Client("127.0.0.1", broker_port, socket_options=_TCP_NODELAY) as client:
        await client.subscribe("raw/ask")

        async def serve() -> None:
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                await client.publish("raw/answer", await answer(message.payload))

        async with background(serve()):
            yield


@asynccontextmanager
async def ask_aiomqtt(broker_port: int) -> AsyncIterator[Ask]:
    """Ask on a topic, at QoS 0."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            aiomqtt.Client("127.0.0.1", broker_port, socket_options=_TCP_NODELAY)
        )
        await client.subscribe("raw/answer")
        messages = aiter(client.messages)

        async def ask(request: bytes) -> bytes:
            await client.publish("raw/ask", request)
            payload = (await anext(messages)).payload
            assert isinstance(payload, bytes)
            return payload

        yield ask
