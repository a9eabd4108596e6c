"""The answering side of the request/reply benchmark, a process of its own as an edge worker is.

`python -m lab.bench.rpc_server BROKER_PORT` prints its ports as one JSON line and serves until its standard
input is closed. The first four bytes of a raw request say how long the answer shall be: 0 for an echo.
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack

from bus.address import BrokerAddress
from bus.tensors import Payload
from lab.bench.rpc_ours import serve_ours
from lab.bench.rpc_transports import serve_aiomqtt, serve_zmq
from lab.event_loop import new_event_loop
from lab.transports.child import until_unheard
from lab.transports.grpc_aio import serve_grpc
from lab.transports.tcp import serve_tcp


async def answer(request: Payload) -> bytes:
    """An echo, or as many bytes as the request asks for."""
    size = int.from_bytes(request[:4], "big")
    return bytes(size or request)


async def serve(broker_port: int) -> None:
    """Serve every transport until standard input ends."""
    async with AsyncExitStack() as stack:
        ports = {
            "grpc": await stack.enter_async_context(serve_grpc(answer)),
            "tcp": await stack.enter_async_context(serve_tcp(answer)),
            "zmq": await stack.enter_async_context(serve_zmq(answer)),
        }
        await stack.enter_async_context(serve_aiomqtt(answer, broker_port))
        await stack.enter_async_context(serve_ours(BrokerAddress(port=broker_port)))
        print(json.dumps(ports), flush=True)
        await until_unheard()


def main() -> None:
    """Run until told to end."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1])))


if __name__ == "__main__":
    main()
