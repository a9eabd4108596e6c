"""Bounded publishing, draining, presence, fault counters."""

import asyncio
import json

import pytest

from bus.connection import Connection, Endpoint
from bus.drain import run_until_drained
from bus.errors import LocalProtocolError
from bus.faults import Faults
from bus.memory import MemoryBroker
from bus.messages import State
from bus.outbox import Outbox, Outgoing
from bus.presence import Presence
from bus.topics import STATE, Role, Topics
from bus.wire import decode


def test_beyond_the_bound_the_oldest_unreliable_goes_then_the_oldest() -> None:
    async def main() -> None:
        gone: list[str] = []

        def item(name: str, qos: int) -> Outgoing:
            return Outgoing(f"t/{name}", b"", qos=qos, ended=lambda ok: gone.append(name) if not ok else None)

        async with MemoryBroker().connect(Endpoint("a")) as link:
            outbox = Outbox(link, limit=2)
            for name, qos in (("one", 1), ("two", 0), ("three", 1), ("four", 1)):
                outbox.put(item(name, qos))
            assert gone == ["two", "one"]
            assert outbox.dropped == 2
            task = asyncio.create_task(outbox.run())
            await outbox.drained()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert gone == ["two", "one"]

    asyncio.run(main())


def test_a_publish_that_fails_is_counted_and_told_and_the_writer_goes_on() -> None:
    async def main() -> None:
        broker = MemoryBroker()
        told: list[bool] = []
        async with broker.connect(Endpoint("a"), max_payload_bytes=10) as link:
            connection: Connection = link
            outbox = Outbox(connection, limit=9, writers=2)
            task = asyncio.create_task(outbox.run())
            outbox.put(Outgoing("t", b"x" * 11, ended=told.append))
            outbox.put(Outgoing("t", b"x", ended=told.append))
            await outbox.drained()
            broker.cut("a", stay_away=True)
            outbox.put(Outgoing("t", b"x", ended=told.append))
            outbox.put(Outgoing("t", b"x"))
            await outbox.drained()
            assert told == [False, True, False]
            assert outbox.failed == 3
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())


def test_cancelling_once_drains_and_twice_does_not_wait() -> None:
    async def main() -> None:
        stopping, done = asyncio.Event(), asyncio.Event()

        async def serve() -> None:
            await done.wait()

        task = asyncio.create_task(run_until_drained("role", serve(), stopping.set))
        await asyncio.sleep(0)
        task.cancel()
        await stopping.wait()
        assert not task.done()
        done.set()
        with pytest.raises(asyncio.CancelledError):
            await task

        done.clear()
        stopping.clear()
        task = asyncio.create_task(run_until_drained("role", serve(), stopping.set))
        await asyncio.sleep(0)
        task.cancel()
        await stopping.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_state_and_will_agree_about_who_and_which_boot() -> None:
    presence = Presence(Topics(), Role.EDGE, "edge-1", boot=3, version="1")
    topic, payload = presence.announce("ready", models="00112233445566aa", load=1.5, detail="x" * 300)
    said, will = decode(STATE, payload, State), presence.will()
    assert (said.role, said.id, said.state, said.boot, len(said.detail)) == (
        "edge",
        "edge-1",
        "ready",
        3,
        256,
    )
    lost = decode(STATE, will.payload, State)
    assert (will.topic, will.qos, will.retain) == (topic, 1, True)
    assert (lost.state, lost.boot) == ("lost", 3)
    metrics_topic, metrics = presence.metrics({"x": 1.0})
    assert (metrics_topic, json.loads(metrics)) == ("cans/v1/metrics/edge/edge-1", {"x": 1.0})
    with pytest.raises(LocalProtocolError, match="15 models"):
        presence.announce("ready", models="x" * 257)


def test_faults_are_counted_by_kind_and_logged_once_a_second() -> None:
    faults = Faults()
    faults.count("tensor")
    assert (faults.of("tensor"), faults.total) == (1, 1)
    assert faults.metrics()["fault_tensor"] == faults.metrics()["faults"] == 1
    assert [faults.worth_logging("tensor", now) for now in (0.0, 0.9, 1.0)] == [True, False, True]
    assert faults.worth_logging("foreign", 1.0)
