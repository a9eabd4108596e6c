"""The other ways to ask and be answered, for comparison: gRPC aio, raw aiomqtt, asyncio TCP, ZeroMQ.

All carry opaque bytes: the very bytes of our typed request and reply. gRPC gets a generic method without
protobuf, which spares it a copy that real users pay.
"""

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import aiomqtt
import grpc
import zmq
import zmq.asyncio

Ask = Callable[[bytes], Awaitable[bytes]]
Answer = Callable[[bytes], bytes]
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
_GRPC_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
]
_METHOD = "/cans.Bench/Infer"
_TCP_NODELAY = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]


@asynccontextmanager
async def serve_grpc(answer: Answer) -> AsyncIterator[int]:
    """Serve one unary method of bytes; yields the port."""

    async def handle(request: bytes, _: grpc.aio.ServicerContext) -> bytes:
        return answer(request)

    server = grpc.aio.server(options=_GRPC_OPTIONS)
    handler = grpc.method_handlers_generic_handler(
        "cans.Bench", {"Infer": grpc.unary_unary_rpc_method_handler(handle)}
    )
    server.add_generic_rpc_handlers((handler,))
    port: int = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


@asynccontextmanager
async def ask_grpc(port: int) -> AsyncIterator[Ask]:
    """Call that method."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_GRPC_OPTIONS) as channel:
        call = channel.unary_unary(_METHOD)

        async def ask(request: bytes) -> bytes:
            reply: bytes = await call(request)
            return reply

        yield ask


@asynccontextmanager
async def serve_tcp(answer: Answer) -> AsyncIterator[int]:
    """Serve length-prefixed messages; yields the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                _write_frame(writer, answer(await _read_frame(reader)))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=MAX_MESSAGE_BYTES)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def ask_tcp(port: int) -> AsyncIterator[Ask]:
    """Ask over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=MAX_MESSAGE_BYTES)

    async def ask(request: bytes) -> bytes:
        _write_frame(writer, request)
        await writer.drain()
        return await _read_frame(reader)

    try:
        yield ask
    finally:
        writer.close()


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))


def _write_frame(writer: asyncio.StreamWriter, message: bytes) -> None:
    writer.writelines((len(message).to_bytes(4, "big"), message))


@asynccontextmanager
async def serve_zmq(answer: Answer) -> AsyncIterator[int]:
    """Serve a REP socket; yields the port."""
    with zmq.asyncio.Context() as context, context.socket(zmq.REP) as replier:
        port = replier.bind_to_random_port("tcp://127.0.0.1")

        async def serve() -> None:
            while True:
                await replier.send(answer(await replier.recv()))

        async with _background(serve()):
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
                await client.publish("raw/answer", answer(message.payload))

        async with _background(serve()):
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


_numbers = itertools.count()


@asynccontextmanager
async def _background(work: Awaitable[None]) -> AsyncIterator[None]:
    """Run beside the body, ended with it."""

    async def run() -> None:
        await work

    task = asyncio.get_running_loop().create_task(run(), name=f"bench-{next(_numbers)}")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
