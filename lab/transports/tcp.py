"""Length-prefixed messages over one asyncio TCP connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lab.transports.asking import MAX_MESSAGE_BYTES, Answer, Ask


@asynccontextmanager
async def serve_tcp(answer: Answer) -> AsyncIterator[int]:
    """Serve length-prefixed messages; yields the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                _write_frame(writer, await answer(await _read_frame(reader)))
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
