"""gRPC aio with a generic method of bytes: without protobuf, which spares it a copy that real users pay."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from lab.transports.asking import MAX_MESSAGE_BYTES, Answer, Ask

_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
]
_METHOD = "/cans.Bench/Infer"


@asynccontextmanager
async def serve_grpc(answer: Answer) -> AsyncIterator[int]:
    """Serve one unary method of bytes; yields the port."""

    async def handle(request: bytes, _: grpc.aio.ServicerContext) -> bytes:
        return await answer(request)

    server = grpc.aio.server(options=_OPTIONS)
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
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS) as channel:
        call = channel.unary_unary(_METHOD)

        async def ask(request: bytes) -> bytes:
            reply: bytes = await call(request)
            return reply

        yield ask
