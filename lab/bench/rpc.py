"""Request and reply: ours through mosquitto against gRPC aio with the same bytes, others beside them."""

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from time import perf_counter

from bus.address import BrokerAddress
from bus.topics import INFER, REPLY
from bus.wire import encode
from device.rotation import Rotation
from lab.bench.rows import Row
from lab.bench.rpc_ours import ask_ours, reply_to, request_of
from lab.bench.rpc_transports import ask_aiomqtt, ask_zmq
from lab.event_loop import new_event_loop
from lab.transports.asking import Ask
from lab.transports.brokers import running
from lab.transports.child import answering
from lab.transports.grpc_aio import ask_grpc
from lab.transports.tcp import ask_tcp

SIZES = {"10kB": 10_000, "100kB": 100_000, "1MB": 1_000_000}
LIMIT = 1.05
_ROUNDS = {"10kB": 600, "100kB": 400, "1MB": 150}

Subject = Callable[[], Awaitable[object]]


def run(*, quick: bool) -> Iterator[Row]:
    """Measure; a round asks every transport once, nobody after the same one more often than after others."""
    with running("mosquitto") as broker, asyncio.Runner(loop_factory=new_event_loop) as runner:
        yield from runner.run(_measure(broker, quick=quick))


async def _measure(broker: BrokerAddress, *, quick: bool) -> list[Row]:
    rows: list[Row] = []
    async with answering("lab.bench.rpc_server", str(broker.port)) as ports, AsyncExitStack() as stack:
        enter = stack.enter_async_context
        ours = await enter(ask_ours(broker))
        raw: dict[str, Ask] = {
            "gRPC aio": await enter(ask_grpc(ports["grpc"])),
            "raw aiomqtt": await enter(ask_aiomqtt(broker.port)),
            "asyncio TCP": await enter(ask_tcp(ports["tcp"])),
            "ZeroMQ": await enter(ask_zmq(ports["zmq"])),
        }
        for label, size in SIZES.items():
            rounds = _ROUNDS[label] // (6 if quick else 1)
            request = request_of(size)
            same, echo = _raw_request(size), bytes(4 + size)
            subjects: dict[str, Subject] = {"typed": partial(ours, request)}
            for name, ask in raw.items():
                subjects[name] = partial(ask, same)
            subjects["gRPC aio echo"] = partial(raw["gRPC aio"], echo)
            subjects["raw aiomqtt echo"] = partial(raw["raw aiomqtt"], echo)
            rows += _rows(label, await _alternate(subjects, rounds))
    return rows


def _raw_request(size: int) -> bytes:
    """As many bytes as our encoded request, that ask for as many as our encoded reply."""
    request = request_of(size)
    want = len(encode(REPLY, reply_to(request)))
    return want.to_bytes(4, "big") + bytes(len(encode(INFER, request)) - 4)


async def _alternate(subjects: dict[str, Subject], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in subjects}
    order = Rotation(list(subjects))
    for turn in range(-10, rounds):
        for name in order(turn):
            start = perf_counter()
            await subjects[name]()
            took = perf_counter() - start
            if turn >= 0:
                times[name].append(took)
    return times


def _rows(label: str, times: dict[str, list[float]]) -> Iterator[Row]:
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    yield Row(
        f"request/reply {label}: typed over mosquitto / gRPC aio, p50",
        medians["typed"] / medians["gRPC aio"],
        "ratio",
        LIMIT,
    )
    for name, median in medians.items():
        yield Row(f"request/reply {label}: {name}, p50", median * 1e3, "ms")
