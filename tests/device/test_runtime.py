"""The device as it runs, with a real network, a real edge worker and a real aggregator."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from aggregator.runtime import run_aggregator
from aggregator.settings import AggregatorSettings
from bandits.fixed import FixedArm
from bandits.policy import Policy
from bandits.settings import Settings
from bus.address import BrokerAddress
from bus.connection import Connection, Delivery, Endpoint
from bus.errors import ConfigurationError
from bus.memory import MemoryBroker
from bus.messages import State
from bus.mqtt import open_connection
from bus.topics import FEEDBACK, STATE, Topics
from bus.wire import decode
from device import events as e
from device.compute import Compute, Frame, load_compute
from device.plan import Plan
from device.runtime import Parts, run_device
from device.settings import DeviceSettings, DeviceSummary
from edge.runtime import run_edge
from edge.settings import EdgeSettings, ModelChoice
from tests.support.broker import mosquitto

TINY = "tests.support.tiny_network:make"
NOWHERE = BrokerAddress("localhost", 1)
Connect = Callable[[Endpoint], contextlib.AbstractAsyncContextManager[Connection]]


def settings(folder: Path | None, **fields: Any) -> DeviceSettings:
    given: dict[str, Any] = {
        "id": "cam-1",
        "type": "pi4",
        "broker": NOWHERE,
        "model": TINY,
        "state_dir": folder,
        "frames": 12,
        "warm_start": 4,
        "deadline_ms": 20_000.0,
        "wait_edge_s": 30.0,
        "metrics_s": 0.05,
        **fields,
    }
    return DeviceSettings(**given)


@contextlib.asynccontextmanager
async def others(folder: Path, connect: Connect) -> AsyncIterator[None]:
    """An edge worker and an aggregator for as long as the block runs."""
    edge = EdgeSettings(
        id="edge-1", broker=NOWHERE, models=(ModelChoice(TINY),), state_dir=folder / "edge", workers=1
    )
    aggregator = AggregatorSettings(id="agg-1", broker=NOWHERE, state_dir=folder / "aggregator")
    tasks = [
        asyncio.create_task(run_edge(edge, connect=connect), name="edge"),
        asyncio.create_task(run_aggregator(aggregator, connect=connect), name="aggregator"),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


def state_of(broker: MemoryBroker) -> State:
    payload = broker.retained(Topics().of(STATE, role="device", id="cam-1"))
    assert payload is not None
    return decode(STATE, payload, State)


def test_every_frame_is_answered_and_every_upload_merged(tmp_path: Path) -> None:
    async def main() -> tuple[DeviceSummary, State]:
        broker = MemoryBroker()
        async with others(tmp_path, broker.connect):
            given = settings(tmp_path / "device", compare=("device_only", "edge_only_uint8"))
            summary = await run_device(given, connect=broker.connect)
            return summary, state_of(broker)

    summary, state = asyncio.run(main())
    assert summary.frames_sent == summary.frames_answered == 12
    assert summary.policies["device_only"].answered == {"device": 12, "edge": 0, "fallback": 0}
    assert summary.policies["edge_only_uint8"].answered == {"device": 0, "edge": 12, "fallback": 0}
    assert summary.policies["edge_only_uint8"].payload_bytes == 12 * 224 * 224 * 3
    assert summary.statistics_sent == summary.statistics_merged >= 2
    assert summary.statistics_refused == 0
    assert (state.state, state.boot, state.type) == ("disconnected", 1, "pi4")


def test_a_policy_that_is_given_may_have_any_name() -> None:
    def alone(plan: Plan, boot: int) -> tuple[Policy, ...]:
        return (FixedArm(plan.device_arm, f"mine, boot {boot}"),)

    async def main() -> DeviceSummary:
        given = settings(None, frames=3, policy="device_only", wait_edge_s=0.0)
        return await run_device(given, connect=MemoryBroker().connect, parts=Parts(policies=alone))

    summary = asyncio.run(main())
    assert list(summary.policies) == ["mine, boot 1"]
    assert summary.frames_answered == 3


def test_devices_that_measure_their_links_are_a_group_of_their_own(tmp_path: Path) -> None:
    async def main() -> tuple[list[DeviceSummary], Path]:
        broker = MemoryBroker()
        async with others(tmp_path, broker.connect):
            plain = settings(tmp_path / "plain", learner=Settings())
            measured = settings(tmp_path / "measured")
            return [await run_device(given, connect=broker.connect) for given in (plain, measured)], tmp_path

    summaries, folder = asyncio.run(main())
    for summary in summaries:
        assert summary.frames_answered == 12
        assert summary.statistics_sent == summary.statistics_merged >= 1
        assert summary.statistics_refused == 0
    schemas = {path.stem.rpartition("-")[2] for path in folder.glob("*/device-cam-1-pi4-*.state")}
    assert len(schemas) == 2


def test_a_second_start_goes_on_with_what_the_first_had_learnt(tmp_path: Path) -> None:
    async def main() -> tuple[DeviceSummary, DeviceSummary, list[e.Event]]:
        broker = MemoryBroker()
        seen: list[e.Event] = []
        async with others(tmp_path, broker.connect):
            given = settings(tmp_path / "device")
            first = await run_device(given, connect=broker.connect)
            second = await run_device(given, connect=broker.connect, on_event=seen.append)
        return first, second, seen

    first, second, seen = asyncio.run(main())
    assert not [event for event in seen if isinstance(event, e.WarmStartFinished)]
    assert second.metrics["boot"] == first.metrics["boot"] + 1
    assert second.statistics_sent == second.statistics_merged >= 1


@pytest.mark.mosquitto
def test_alone_a_device_finds_out_how_its_link_does(tmp_path: Path) -> None:
    """The broker acknowledges its feedback, which reaches whoever listens all the same."""

    async def hear(connection: Connection, messages: int) -> None:
        async for event in connection.events():
            messages -= isinstance(event, Delivery)
            if messages == 0:
                return

    async def main() -> DeviceSummary:
        watcher = Endpoint("watcher", subscriptions=((Topics().filter(FEEDBACK), 1),))
        async with (
            mosquitto(tmp_path / "broker") as broker,
            open_connection(broker.address, watcher) as connection,
        ):
            hearing = asyncio.create_task(hear(connection, 12), name="watcher")
            given = settings(None, broker=broker.address, wait_edge_s=0.0, flush_s=0.0, fps=20.0)
            summary = await run_device(given)
            await asyncio.wait_for(hearing, 10.0)
            return summary

    summary = asyncio.run(main())
    assert summary.answered_by == {"device": 12, "edge": 0, "fallback": 0}
    assert 1 <= summary.metrics["link_checks"] <= 12
    assert 0.0 < summary.metrics["link_check_ms"] < 1000.0


@pytest.mark.mosquitto
def test_a_device_stops_though_its_broker_will_never_acknowledge_a_check(tmp_path: Path) -> None:
    """The broker is frozen, so the check on its way ends at the keepalive, long after the device has gone."""

    async def main() -> list[e.Event]:
        seen: list[e.Event] = []
        async with mosquitto(tmp_path / "broker") as broker:
            given = settings(None, broker=broker.address, wait_edge_s=0.0, flush_s=0.0, fps=10.0, frames=None)
            device = asyncio.create_task(run_device(given, on_event=seen.append), name="device")
            async with asyncio.timeout(60.0):
                while not any(isinstance(event, e.LinkChecked) for event in seen):  # noqa: ASYNC110 - events of
                    await asyncio.sleep(0.05)  # another task, seen through a plain callback
            os.kill(broker.pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(0.5)  # a frame's feedback is on its way by now
                device.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.wait_for(device, 30.0)
            finally:
                os.kill(broker.pid, signal.SIGCONT)
        return seen

    seen = asyncio.run(main())
    assert sum(isinstance(event, e.LinkChecked | e.LinkCheckFailed) for event in seen) >= 1


def test_alone_a_device_answers_everything_by_itself() -> None:
    async def main() -> DeviceSummary:
        given = settings(None, wait_edge_s=0.0, flush_s=0.0, policy="edge_only_jpeg")
        return await run_device(given, connect=MemoryBroker().connect)

    summary = asyncio.run(main())
    assert summary.answered_by == {"device": 12, "edge": 0, "fallback": 0}
    assert summary.policies["edge_only_jpeg"].masked == 12
    assert summary.statistics_sent == 0


class _Slow:
    """A real network on a device that needs twenty frames' time for each frame."""

    def __init__(self, inner: Compute) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:  # all else is the real one's
        return getattr(self._inner, name)

    def run_head(self, frame: Frame, arm: int, until: int | None = None) -> e.Head:
        time.sleep(0.02)
        return self._inner.run_head(frame, arm, until)


def test_frames_that_newer_ones_replace_are_counted_and_told_of_once() -> None:
    async def main() -> DeviceSummary:
        given = settings(None, wait_edge_s=0.0, flush_s=0.0, policy="device_only", frames=20, fps=1000.0)
        slow = _Slow(await asyncio.to_thread(load_compute, given))
        return await run_device(given, connect=MemoryBroker().connect, compute=slow)

    with structlog.testing.capture_logs() as said:
        summary = asyncio.run(main())
    dropped = summary.policies["device_only"].rejected["dropped"]
    told = [each for each in said if each["event"] == "rejected" and each["reason"] == "dropped"]
    assert dropped > 1
    # What goes to debug may not be kept at all.
    assert [each["seq"] for each in told if each["log_level"] == "warning"] == [told[0]["seq"]]
    assert "--fps" in told[0]["hint"]


def test_cancelled_it_answers_the_frame_in_play_and_tells_its_summary(tmp_path: Path) -> None:
    async def main() -> DeviceSummary:
        broker = MemoryBroker()
        summaries: list[DeviceSummary] = []
        going = asyncio.Event()

        def look(event: e.Event) -> None:
            if isinstance(event, e.ReplyArrived):
                going.set()

        async with others(tmp_path, broker.connect):
            given = settings(tmp_path / "device", frames=None, policy="edge_only_uint8")
            task = asyncio.create_task(
                run_device(given, connect=broker.connect, on_event=look, on_end=summaries.append)
            )
            await going.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        (summary,) = summaries
        return summary

    summary = asyncio.run(main())
    tally = summary.policies["edge_only_uint8"]
    assert summary.frames_sent == summary.frames_answered + sum(tally.rejected.values()) >= 1


def test_another_client_with_the_same_id_ends_it_with_a_sentence() -> None:
    async def main() -> None:
        broker = MemoryBroker()
        playing = asyncio.Event()

        def look(event: e.Event) -> None:
            if isinstance(event, e.HeadFinished):
                playing.set()

        given = settings(None, wait_edge_s=0.0, frames=None)
        task = asyncio.create_task(run_device(given, connect=broker.connect, on_event=look))
        await playing.wait()
        async with broker.connect(Endpoint("device:cam-1")):
            with pytest.raises(ConfigurationError, match="--id"):
                await task

    asyncio.run(main())


def test_stopping_does_not_wait_for_a_frame_that_is_due_much_later() -> None:
    async def main() -> DeviceSummary:
        broker = MemoryBroker()
        summaries: list[DeviceSummary] = []
        answered = asyncio.Event()

        def look(event: e.Event) -> None:
            if isinstance(event, e.HeadFinished):
                answered.set()

        given = settings(None, wait_edge_s=0.0, frames=None, warm_start=0, fps=1 / 3600)
        task = asyncio.create_task(
            run_device(given, connect=broker.connect, on_event=look, on_end=summaries.append)
        )
        await answered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(30.0):
                await task
        return summaries[0]

    assert asyncio.run(main()).frames_answered == 1


class _SlowLink:
    """A connection whose QoS 0 writes never get through until it is told so."""

    def __init__(self, inner: Connection) -> None:
        self._inner = inner
        self.open = asyncio.Event()
        self.publishes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def publish(self, *args: Any, **kwargs: Any) -> None:
        self.publishes += 1
        await self.open.wait()
        await self._inner.publish(*args, **kwargs)


def test_behind_an_activation_that_is_still_being_written_none_queues_up(tmp_path: Path) -> None:
    async def main() -> tuple[DeviceSummary, _SlowLink]:
        broker = MemoryBroker()
        links: list[_SlowLink] = []

        @contextlib.asynccontextmanager
        async def connect(endpoint: Endpoint) -> AsyncIterator[Connection]:
            async with broker.connect(endpoint) as connection:
                if not endpoint.client_id.endswith(":data"):
                    yield connection
                    return
                links.append(_SlowLink(connection))
                yield links[0]

        given = settings(
            tmp_path / "device", frames=6, policy="edge_only_uint8", deadline_ms=200.0, warm_start=0
        )
        given_up: list[e.Event] = []

        def look(event: e.Event) -> None:
            if isinstance(event, e.FallbackFinished):
                given_up.append(event)
            if len(given_up) == 5:
                links[0].open.set()

        async with others(tmp_path, broker.connect):
            return await run_device(given, connect=connect, on_event=look), links[0]

    summary, link = asyncio.run(main())
    assert summary.frames_answered == 6
    assert summary.answered_by["fallback"] >= 5
    assert link.publishes <= 2  # the one that hung, and perhaps one after it got through


@pytest.mark.mosquitto
def test_the_same_over_mosquitto(tmp_path: Path) -> None:
    async def main() -> DeviceSummary:
        async with mosquitto(tmp_path / "broker") as broker:

            def connect(endpoint: Endpoint) -> contextlib.AbstractAsyncContextManager[Connection]:
                return open_connection(broker.address, endpoint)

            async with others(tmp_path, connect):
                return await run_device(settings(tmp_path / "device"), connect=connect)

    summary = asyncio.run(main())
    assert summary.frames_sent == summary.frames_answered == 12
    assert summary.statistics_sent == summary.statistics_merged >= 1
