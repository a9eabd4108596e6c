"""The aggregator as it runs: over the broker in memory, and once over mosquitto."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aggregator.events import Event, SnapshotFailed, SnapshotSaved, UploadArrived
from aggregator.runtime import run_aggregator
from aggregator.settings import AggregatorSettings, read_groups
from bus.address import BrokerAddress
from bus.connection import Connection, Delivery, Endpoint
from bus.errors import ConfigurationError
from bus.memory import MemoryBroker
from bus.messages import GroupParameters, StatisticsUpload, UploadAck, UploadRefusal
from bus.mqtt import open_connection
from bus.statistics import pack_symmetric, unpack_symmetric
from bus.tensors import buffer_of
from bus.topics import ACK, GROUPS, STATE, STATS, Topics
from bus.wire import decode, encode
from tests.support.broker import mosquitto

MODEL = "0" * 16
T = Topics()
STATE_TOPIC = T.of(STATE, role="aggregator", id="agg")
STATS_TOPIC = T.of(STATS, type="pi4", device="cam-1")
ACK_TOPIC = T.of(ACK, type="pi4", device="cam-1")
GROUP_TOPIC = T.of(GROUPS, type="pi4", model=MODEL)
X = np.array([1.0, 0.5])


def upload(seq: int, *, device: str = "cam-1") -> bytes:
    """One row, its cost a different one each time: the same sums twice are refused as a replay."""
    cost_s = 1.0 / seq
    message = StatisticsUpload(
        device=device,
        type="pi4",
        model=MODEL,
        schema="1" * 16,
        install="2" * 16,
        boot=1,
        seq=seq,
        phase="online",
        dimension=2,
        gram=pack_symmetric(np.outer(X, X)),
        moment=buffer_of(cost_s * X),
        count=1,
        sum_squares=cost_s**2,
    )
    return encode(STATS, message)


def settings_of(state_dir: Path, **changes: Any) -> AggregatorSettings:
    fields: dict[str, Any] = {"id": "agg", "broker": BrokerAddress(), "state_dir": state_dir, **changes}
    return AggregatorSettings(**fields)


async def on_topic(incoming: AsyncIterator[Delivery], topic: str) -> bytes:
    async for delivery in incoming:
        if delivery.topic == topic:
            return bytes(delivery.payload)
    raise AssertionError


async def deliveries(link: Connection) -> AsyncIterator[Delivery]:
    async for event in link.events():
        if isinstance(event, Delivery):
            event.ack()
            yield event


async def acked(incoming: AsyncIterator[Delivery]) -> UploadAck | UploadRefusal:
    answer = decode(ACK, await on_topic(incoming, ACK_TOPIC))
    assert isinstance(answer, UploadAck | UploadRefusal)
    return answer


@contextlib.asynccontextmanager
async def running(
    broker: MemoryBroker, state_dir: Path, on_event: Callable[[Event], None] | None = None
) -> AsyncIterator[None]:
    task = asyncio.create_task(
        run_aggregator(settings_of(state_dir, broadcast_s=0.0), on_event, connect=broker.connect)
    )
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def started(broker: MemoryBroker) -> None:
    """Return once the aggregator has announced itself."""
    watcher = Endpoint("starting", subscriptions=((STATE_TOPIC, 1),))
    async with broker.connect(watcher) as link:
        await on_topic(deliveries(link), STATE_TOPIC)


DEVICE = Endpoint("cam-1", subscriptions=((ACK_TOPIC, 1), (GROUP_TOPIC, 1), (STATE_TOPIC, 1)))


def test_an_upload_is_merged_once_over_doubles_and_restarts_and_heard_by_the_group(tmp_path: Path) -> None:
    async def main() -> None:
        broker = MemoryBroker()
        async with asyncio.timeout(30), broker.connect(DEVICE) as link:
            incoming = deliveries(link)
            async with running(broker, tmp_path):
                assert json.loads(await on_topic(incoming, STATE_TOPIC))["state"] == "ready"
                await link.publish(STATS_TOPIC, upload(1), qos=1)
                first = await acked(incoming)
                assert isinstance(first, UploadAck)
                group = decode(GROUPS, await on_topic(incoming, GROUP_TOPIC), GroupParameters)
                assert (group.version, group.members, group.origin) == (first.version, 1, first.origin)
                np.testing.assert_array_equal(
                    unpack_symmetric(group.gram, 2), 0.1 * np.eye(2) + np.outer(X, X)
                )
                await link.publish(STATS_TOPIC, upload(1), qos=1)
                assert await acked(incoming) == first
            assert json.loads(broker.retained(STATE_TOPIC) or b"")["state"] == "disconnected"
            async with running(broker, tmp_path):
                while json.loads(await on_topic(incoming, STATE_TOPIC))["state"] != "ready":
                    pass
                await link.publish(STATS_TOPIC, upload(1), qos=1)
                assert await acked(incoming) == first
                await link.publish(STATS_TOPIC, upload(2), qos=1)
                second = await acked(incoming)
                assert isinstance(second, UploadAck)
                assert (second.version, second.origin) == (2, first.origin)
                await link.publish(STATS_TOPIC, upload(3, device="cam-2"), qos=1)
                refusal = await acked(incoming)
                assert isinstance(refusal, UploadRefusal)
                assert (refusal.reason, refusal.seq) == ("wrong_sender", 3)
                await link.publish(STATS_TOPIC, b"\xc1", qos=1)
                broker.stop(forget=True)
                broker.start()
                group = decode(GROUPS, await on_topic(incoming, GROUP_TOPIC), GroupParameters)
                while group.version < 2:
                    group = decode(GROUPS, await on_topic(incoming, GROUP_TOPIC), GroupParameters)
                assert group.count == 2

    asyncio.run(main())


def test_a_disk_that_cannot_be_written_acknowledges_nothing_until_it_can(tmp_path: Path) -> None:
    async def main() -> None:
        broker = MemoryBroker()
        failed = asyncio.Event()

        def note(event: Event) -> None:
            if isinstance(event, SnapshotFailed):
                failed.set()

        async with asyncio.timeout(30), broker.connect(DEVICE) as link, running(broker, tmp_path, note):
            incoming = deliveries(link)
            await on_topic(incoming, STATE_TOPIC)
            # What a snapshot is first written to is in the way, as a real failure of the disk is.
            (tmp_path / "groups.new").mkdir()
            (tmp_path / "groups.new" / "in-the-way").touch()
            await link.publish(STATS_TOPIC, upload(1), qos=1)
            await failed.wait()
            assert "cannot save" in json.loads(await on_topic(incoming, STATE_TOPIC))["detail"]
            (tmp_path / "groups.new" / "in-the-way").unlink()
            (tmp_path / "groups.new").rmdir()
            assert isinstance(await acked(incoming), UploadAck)
            assert json.loads(broker.retained(STATE_TOPIC) or b"")["detail"] == ""

    asyncio.run(main())


def test_many_uploads_at_once_share_snapshots_and_are_all_acknowledged(tmp_path: Path) -> None:
    async def main() -> None:
        broker = MemoryBroker(max_queued=1000)
        arrived: list[Event] = []
        everybody = Endpoint("watch", subscriptions=((T.filter(ACK), 1),))
        async with (
            asyncio.timeout(30),
            broker.connect(everybody) as link,
            running(broker, tmp_path, arrived.append),
        ):
            incoming = deliveries(link)
            await started(broker)
            devices = [f"cam-{number}" for number in range(100)]
            for device in devices:
                topic = T.of(STATS, type="pi4", device=device)
                await link.publish(topic, upload(1, device=device), qos=1)
            heard = {(await anext(incoming)).topic for _ in devices}
            assert len(heard) == 100
            assert sum(isinstance(event, UploadArrived) for event in arrived) == 100
            assert sum(isinstance(event, SnapshotSaved) for event in arrived) < 100

    asyncio.run(main())


def test_two_on_one_folder_and_a_damaged_snapshot_are_one_sentence(tmp_path: Path) -> None:
    async def main() -> None:
        broker = MemoryBroker()
        async with asyncio.timeout(30), broker.connect(DEVICE) as link, running(broker, tmp_path):
            await on_topic(deliveries(link), STATE_TOPIC)
            with pytest.raises(ConfigurationError, match="another process"):
                await run_aggregator(settings_of(tmp_path, id="two"), connect=broker.connect)
        (tmp_path / "groups").write_bytes(b"noise")
        with pytest.raises(ConfigurationError, match="damaged"):
            await run_aggregator(settings_of(tmp_path), connect=broker.connect)

    asyncio.run(main())


def test_another_client_with_its_id_ends_it_with_a_sentence(tmp_path: Path) -> None:
    async def main() -> None:
        broker = MemoryBroker()
        async with asyncio.timeout(30), broker.connect(DEVICE) as link:
            task = asyncio.create_task(run_aggregator(settings_of(tmp_path), connect=broker.connect))
            await on_topic(deliveries(link), STATE_TOPIC)
            async with broker.connect(Endpoint("aggregator:agg")):
                with pytest.raises(ConfigurationError, match="--id"):
                    await task

    asyncio.run(main())


@pytest.mark.mosquitto
def test_over_mosquitto_an_upload_is_acknowledged_and_the_broadcast_retained(tmp_path: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), mosquitto() as broker:
            settings = settings_of(tmp_path, broker=broker.address, metrics_s=0.05)
            async with open_connection(broker.address, DEVICE) as link:
                incoming = deliveries(link)
                task = asyncio.create_task(run_aggregator(settings))
                await on_topic(incoming, STATE_TOPIC)
                await link.publish(STATS_TOPIC, upload(1), qos=1)
                assert isinstance(await acked(incoming), UploadAck)
                await on_topic(incoming, GROUP_TOPIC)
            late = Endpoint("late", subscriptions=(("cans/v1/groups/#", 1), ("cans/v1/metrics/#", 0)))
            async with open_connection(broker.address, late) as link:
                incoming = deliveries(link)
                retained = {each.topic: each for each in [await anext(incoming), await anext(incoming)]}
                assert all(each.retained for each in retained.values())
                assert decode(GROUPS, retained[GROUP_TOPIC].payload, GroupParameters).version == 1
                words = json.loads(bytes(retained[f"{GROUP_TOPIC}/words"].payload))
                assert (words["version"], words["count"], words["device_ms"]) == (1, 1, None)
                assert datetime.fromisoformat(words["changed"]).tzinfo is not None
                metrics = json.loads(await on_topic(incoming, "cans/v1/metrics/aggregator/agg"))
                assert (metrics["merged"], metrics["rows"], metrics["groups"]) == (1, 1, 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "Agg 1"},
        {"regularisation": 0.0},
        {"metrics_s": 0.0},
        {"groups": {"a": ()}},
        {"largest_groups": 0},
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_one_sentence(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        settings_of(tmp_path, **changes)


def test_groups_are_read_from_toml_or_refused_with_what_to_write(tmp_path: Path) -> None:
    file = tmp_path / "cans.toml"
    file.write_text('[groups.pis]\ntypes = ["pi4", "pi5"]\n[edge]\nid = "e"\n')
    assert read_groups(file) == {"pis": ("pi4", "pi5")}
    for text in ("[groups]\npis = 3", "groups = 3", '[groups.a]\ntypes = "pi4"', "[groups.a]\ntypes = [1]"):
        file.write_text(text)
        with pytest.raises(ConfigurationError, match="types"):
            read_groups(file)
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="TOML"):
        read_groups(file)
    with pytest.raises(ConfigurationError, match="cannot read"):
        read_groups(tmp_path / "none")
