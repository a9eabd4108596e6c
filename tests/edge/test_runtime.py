"""The edge worker as it runs: over the broker in memory, and once over mosquitto with a real network."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bus.address import BrokerAddress
from bus.connection import Connection, Delivery, Endpoint, Properties
from bus.errors import ConfigurationError
from bus.memory import MemoryBroker
from bus.messages import ActivationRequest, InferenceReply, Message, Rejection
from bus.mqtt import open_connection
from bus.tensors import buffer_of
from bus.topics import INFER, REPLY, STATE, Topics
from bus.wire import decode, encode
from edge.batching import Batch, Batches
from edge.events import Event, Failure, Output, RequestArrived
from edge.runtime import run_edge
from edge.served import Arms
from edge.settings import EdgeSettings, ModelChoice
from edge.tails import load_tails
from partition.networks.zoo import load_model
from partition.partitioned import build
from tests.support.broker import mosquitto

MODEL = "00112233445566aa"
T = Topics()
STATE_TOPIC = T.of(STATE, role="edge", id="edge-1")
REPLY_TOPIC = T.of(REPLY, device="cam-1")
Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class Summing:
    """Tails that add up their payload; a payload of zeros waits until the test lets it go."""

    names = "summing"
    models: Mapping[str, Arms] = {MODEL: frozenset({(0, "uint8")})}
    batches: Mapping[str, Batches] = {MODEL: {0: Batch(4, 9.0)}}

    def __init__(self) -> None:
        self.gate = threading.Event()

    def warm_up(self) -> None:
        """Nothing is cold."""

    def run(self, requests: Sequence[ActivationRequest]) -> tuple[Output | Failure, ...]:
        return tuple(self._run(sum(bytes(request.payload))) for request in requests)

    def _run(self, total: int) -> Output | Failure:
        if total == 0:
            self.gate.wait(10.0)
        if total == 1:
            return Failure("tensor", "a single one")
        if total == 2:
            raise ZeroDivisionError
        return Output(total, 1.0, "float32", (1,), memoryview(b"1234"), 0.0, 1.0)


def settings_of(**changes: Any) -> EdgeSettings:
    fields: dict[str, Any] = {"id": "edge-1", "broker": BrokerAddress(), "version": "1", **changes}
    return EdgeSettings(**fields)


def request(request_id: str, payload: bytes, *, device: str = "cam-1", budget_ms: float = 9000.0) -> bytes:
    return encode(
        INFER,
        ActivationRequest(
            id=request_id,
            device=device,
            type="pi4",
            model=MODEL,
            cut=0,
            codec="uint8",
            dtype="uint8",
            shape=(len(payload),),
            seq=1,
            budget_ms=budget_ms,
            payload=memoryview(payload),
        ),
    )


async def deliveries(link: Connection) -> AsyncIterator[Delivery]:
    async for event in link.events():
        if isinstance(event, Delivery):
            event.ack()
            yield event


async def until_state(incoming: AsyncIterator[Delivery], *words: str) -> dict[str, Any]:
    async for delivery in incoming:
        if delivery.topic == STATE_TOPIC:
            state: dict[str, Any] = json.loads(bytes(delivery.payload))
            if state["state"] in words:
                return state
    raise AssertionError


async def next_reply(incoming: AsyncIterator[Delivery], topic: str = REPLY_TOPIC) -> Message:
    async for delivery in incoming:
        if delivery.topic == topic:
            return decode(REPLY, delivery.payload)
    raise AssertionError


@contextlib.asynccontextmanager
async def running(
    broker: MemoryBroker, tails: Summing, on_event: Callable[[Event], None] | None = None
) -> AsyncIterator[tuple[asyncio.Task[None], Connection, AsyncIterator[Delivery]]]:
    """A device's connection beside a ready edge worker; the worker is stopped at the end."""
    device = Endpoint("cam-1", subscriptions=((T.filter(REPLY), 0), (STATE_TOPIC, 1)))
    async with asyncio.timeout(30), broker.connect(device) as link:
        incoming = deliveries(link)
        task = asyncio.create_task(
            run_edge(settings_of(), compute=tails, connect=broker.connect, on_event=on_event)
        )
        state = await until_state(incoming, "ready")
        assert (state["models"], state["detail"]) == (MODEL, "summing")
        try:
            yield task, link, incoming
        finally:
            tails.gate.set()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert json.loads(broker.retained(STATE_TOPIC) or b"{}")["state"] == "disconnected"


def test_requests_are_answered_rejected_or_refused_and_nothing_dies() -> None:
    async def main() -> None:
        broker = MemoryBroker()
        async with running(broker, Summing()) as (_, link, incoming):
            topic = T.of(INFER, edge="edge-1", device="cam-1")
            properties = Properties(response_topic="cans/v1/stats/pi4/cam-1", correlation_data=b"c")
            await link.publish(topic, request("1-1", b"\x05\x06"), properties=properties)
            async for delivery in incoming:
                if delivery.topic == REPLY_TOPIC:
                    reply = decode(REPLY, delivery.payload, InferenceReply)
                    assert (reply.id, reply.top, reply.edge) == ("1-1", 11, "edge-1")
                    assert delivery.properties is not None
                    assert delivery.properties.correlation_data == b"c"
                    assert delivery.properties.expiry_s == 9
                    break
            cases = [
                (request("1-2", b"\x01"), "1-2", "malformed"),
                (request("1-3", b"\x02"), "1-3", "overloaded"),
                (request("1-4", b"\x09", budget_ms=0.0), "1-4", "expired"),
                (request("1-5", b"\x09", device="cam-2"), "1-5", "malformed"),
                (b"\xc1", "", "malformed"),
                (b"\0" * (INFER.limit_bytes + 1), "", "too_large"),
            ]
            for payload, request_id, reason in cases:
                await link.publish(topic, payload)
                rejection = await next_reply(incoming)
                assert isinstance(rejection, Rejection)
                assert (rejection.id, rejection.reason) == (request_id, reason)

    asyncio.run(main())


def test_cancelling_drains_what_runs_is_answered_what_waits_is_rejected() -> None:
    async def main() -> None:
        tails, arrived = Summing(), asyncio.Semaphore(0)

        def count(event: Event) -> None:
            if isinstance(event, RequestArrived):
                arrived.release()

        async with running(MemoryBroker(), tails, count) as (task, link, incoming):
            topic = T.of(INFER, edge="edge-1", device="cam-1")
            for number in (1, 2):
                await link.publish(topic, request(f"1-{number}", b"\0"))
                await arrived.acquire()
            task.cancel()
            first = await next_reply(incoming)
            assert isinstance(first, Rejection)
            assert (first.id, first.reason) == ("1-2", "shutting_down")
            tails.gate.set()
            second = await next_reply(incoming)
            assert isinstance(second, InferenceReply)
            assert second.id == "1-1"
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())


def test_what_gathers_while_a_tail_runs_is_answered_together() -> None:
    async def main() -> None:
        broker, tails, arrived = MemoryBroker(), Summing(), asyncio.Semaphore(0)

        def count(event: Event) -> None:
            if isinstance(event, RequestArrived):
                arrived.release()

        async with running(broker, tails, count) as (_, link, incoming):
            for number, payload in enumerate((b"\0", b"\x05", b"\x01", b"\x06")):
                name = f"cam-{number}"
                message = request(f"1-{number}", payload, device=name)
                await link.publish(T.of(INFER, edge="edge-1", device=name), message)
                await arrived.acquire()
            tails.gate.set()
            replies = [await next_reply(incoming, T.of(REPLY, device=f"cam-{n}")) for n in range(4)]
            assert isinstance(replies[2], Rejection)
            answers = [(each.top, each.batch) for each in replies if isinstance(each, InferenceReply)]
            assert answers == [(0, 1), (5, 3), (6, 3)]

    asyncio.run(main())


def test_a_lost_link_leaves_a_will_and_the_state_comes_back() -> None:
    async def main() -> None:
        broker = MemoryBroker()
        async with running(broker, Summing()) as (_, link, incoming):
            broker.cut("edge:edge-1")
            lost = await until_state(incoming, "lost")
            back = await until_state(incoming, "ready")
            assert lost["boot"] == back["boot"]
            broker.cut("edge:edge-1:data")
            topic = T.of(INFER, edge="edge-1", device="cam-1")
            await asyncio.sleep(0)
            await link.publish(topic, request("1-1", b"\x05"))
            assert isinstance(await next_reply(incoming), InferenceReply)

    asyncio.run(main())


def test_another_client_with_its_id_ends_it_with_a_sentence() -> None:
    async def main() -> None:
        broker = MemoryBroker()
        async with running(broker, Summing()) as (task, _, _), broker.connect(Endpoint("edge:edge-1")):
            with pytest.raises(ConfigurationError, match="--id"):
                await task

    with pytest.raises(ConfigurationError):
        asyncio.run(main())


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "Edge 1"},
        {"models": ()},
        {"workers": 0},
        {"threads": 0},
        {"largest_batch": 0},
        {"metrics_s": 0.0},
        {"drain_s": -1.0},
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_one_sentence(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        settings_of(**changes)


TINY = "tests.support.tiny_network:make"


def test_the_same_network_twice_is_one_sentence() -> None:
    with pytest.raises(ConfigurationError, match="twice"):
        load_tails(settings_of(models=(ModelChoice(TINY), ModelChoice(TINY))))


@pytest.mark.mosquitto
def test_a_real_network_over_mosquitto_answers_as_the_whole_network_does(tmp_path: Path) -> None:
    async def main() -> None:
        model = build(load_model(TINY))
        frame = np.random.default_rng(1).integers(0, 256, (*model.input_size, 3), dtype=np.uint8)
        async with asyncio.timeout(60), mosquitto() as broker:
            settings = settings_of(
                broker=broker.address,
                models=(ModelChoice(TINY),),
                state_dir=tmp_path,
                workers=2,
                metrics_s=0.1,
            )
            device = Endpoint("cam-1", subscriptions=((REPLY_TOPIC, 0), (STATE_TOPIC, 1)))
            async with open_connection(broker.address, device) as link:
                incoming = deliveries(link)
                task = asyncio.create_task(run_edge(settings))
                state = await until_state(incoming, "ready")
                assert (state["models"], state["boot"]) == (model.hash, 1)
                for arm in model.arms[:-1]:
                    head = model.run_head(frame, arm)
                    assert head.payload is not None
                    message = ActivationRequest(
                        id=f"1-{arm.index}",
                        device="cam-1",
                        type="pi4",
                        model=model.hash,
                        cut=arm.cut,
                        codec=arm.codec,
                        dtype=head.dtype,
                        shape=head.shape,
                        seq=arm.index,
                        budget_ms=9000.0,
                        payload=memoryview(head.payload),
                    )
                    await link.publish(T.of(INFER, edge="edge-1", device="cam-1"), encode(INFER, message))
                    reply = await next_reply(incoming)
                    assert isinstance(reply, InferenceReply)
                    expected = model.run_tail(arm.cut, arm.codec, head.dtype, head.shape, head.payload)
                    assert bytes(reply.payload) == bytes(buffer_of(expected.logits))
                    assert reply.top == int(np.argmax(expected.logits))
                task.cancel()
                assert (await until_state(incoming, "disconnected"))["boot"] == 1
                with pytest.raises(asyncio.CancelledError):
                    await task

    asyncio.run(main())
