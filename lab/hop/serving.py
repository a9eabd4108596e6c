"""The answering side, a process of its own as an edge worker is: decode, tail, answer, whoever asks.

`python -m lab.hop.serving --network NAME --codecs A,B --broker PORT ...` prints the ports of its own servers
as one JSON line and serves until its standard input is closed. Tails run in a worker thread, as an edge
worker's do; its session (queue, limits, bans) is left out for all transports alike.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

from bus.address import BrokerAddress
from bus.errors import ConfigurationError
from bus.messages import ActivationRequest, InferenceReply
from bus.tensors import Payload
from bus.topics import INFER, REPLY
from bus.wire import decode, encode
from edge.events import Failure
from edge.tails import PartitionedTails, Tails
from lab.event_loop import new_event_loop
from lab.transports.asking import Answer
from lab.transports.child import until_unheard
from lab.transports.grpc_aio import serve_grpc
from lab.transports.mqtt import serve_mqtt
from lab.transports.tcp import serve_tcp
from partition.networks.zoo import load_model
from partition.partitioned import build


def answering(tails: Tails, threads: ThreadPoolExecutor) -> Answer:
    """Return what turns the bytes of a request into those of its reply."""

    async def answer(payload: Payload) -> bytes:
        request = decode(INFER, payload, ActivationRequest)
        (output,) = await asyncio.get_running_loop().run_in_executor(threads, tails.run, (request,))
        if isinstance(output, Failure):
            raise ConfigurationError(f"the tail failed: {output.detail}")
        reply = InferenceReply(
            id=request.id,
            edge="edge-1",
            top=output.top,
            confidence=output.confidence,
            dtype=output.dtype,
            shape=output.shape,
            payload=output.payload,
            queue_ms=0.0,
            decode_ms=output.decode_ms,
            tail_ms=output.tail_ms,
            load=1.0,
        )
        return encode(REPLY, reply)

    return answer


async def serve(network: str, codecs: Sequence[str], brokers: Sequence[int]) -> None:
    """Serve every transport until standard input ends."""
    tails = PartitionedTails((build(load_model(network), codecs=codecs),))
    tails.warm_up()
    with ThreadPoolExecutor(1, thread_name_prefix="tail") as threads:
        answer = answering(tails, threads)
        async with AsyncExitStack() as stack:
            ports = {
                "TCP": await stack.enter_async_context(serve_tcp(answer)),
                "gRPC": await stack.enter_async_context(serve_grpc(answer)),
            }
            for port in brokers:
                await stack.enter_async_context(serve_mqtt(answer, BrokerAddress(port=port)))
            print(json.dumps(ports), flush=True)
            await until_unheard()


def main() -> int:
    """Run until told to end."""
    parser = argparse.ArgumentParser(prog="python -m lab.hop.serving", description=__doc__)
    parser.add_argument("--network", required=True)
    parser.add_argument("--codecs", required=True, help="comma separated")
    parser.add_argument("--broker", action="append", default=[], type=int, help="port of one; repeat")
    asked = parser.parse_args()
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(serve(asked.network, asked.codecs.split(","), asked.broker))
    except KeyboardInterrupt:
        return 130
    except ConfigurationError as error:
        print(f"hop: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
