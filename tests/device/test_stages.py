"""The stages of a frame add up to what somebody beside the session sees it take, over a real broker."""

import asyncio
import statistics
import time
from pathlib import Path

import pytest

from bus.connection import Delivery, Endpoint
from bus.messages import Feedback
from bus.mqtt import open_connection
from bus.stages import STAGES, stages_of
from bus.topics import FEEDBACK, Topics
from bus.wire import decode
from device import events as e
from device.runtime import run_device
from device.settings import DeviceSettings
from edge.runtime import run_edge
from edge.settings import EdgeSettings, ModelChoice
from tests.support.broker import mosquitto

TINY = "tests.support.tiny_network:make"
FRAMES = 24


class _Observer:
    """Stands beside a device's session: when each frame came and when it was answered, by its own clock."""

    def __init__(self) -> None:
        self.captured_ms: list[float] = []
        self.answered_ms: list[float] = []

    def __call__(self, event: e.Event) -> None:
        now_ms = time.monotonic() * 1000.0
        if isinstance(event, e.FrameCaptured):
            self.captured_ms.append(now_ms)
        elif isinstance(event, e.ReplyArrived) or (isinstance(event, e.HeadFinished) and event.head.top):
            self.answered_ms.append(now_ms)


async def _play(folder: Path, policy: str) -> tuple[list[Feedback], _Observer]:
    """One device, one edge worker, and whoever listens; one policy, in a closed loop."""
    observer, heard = _Observer(), list[Feedback]()
    listener = Endpoint("listener", subscriptions=((Topics().filter(FEEDBACK), 0),))
    async with mosquitto(folder) as broker, open_connection(broker.address, listener) as connection:

        async def hear() -> None:
            async for event in connection.events():
                if isinstance(event, Delivery):
                    heard.append(decode(FEEDBACK, event.payload, Feedback))
                    event.ack()
                if len(heard) == FRAMES:
                    return

        edge = EdgeSettings(id="edge-1", broker=broker.address, models=(ModelChoice(TINY),), workers=1)
        device = DeviceSettings(
            id="cam-1", type="pi4", broker=broker.address, model=TINY, policy=policy, frames=FRAMES,
            warm_start=0, deadline_ms=20_000.0, wait_edge_s=30.0, flush_s=0.0,
        )  # fmt: skip
        async with asyncio.TaskGroup() as tasks:
            hearing = tasks.create_task(hear(), name="listener")
            worker = tasks.create_task(run_edge(edge), name="edge")
            await run_device(device, on_event=observer)
            await asyncio.wait_for(hearing, 20.0)
            worker.cancel()
    return heard, observer


@pytest.mark.mosquitto
@pytest.mark.parametrize(("policy", "by"), [("device_only", "device"), ("edge_only_uint8", "edge")])
def test_stages_add_up_to_what_an_observer_sees(tmp_path: Path, policy: str, by: str) -> None:
    heard, observer = asyncio.run(_play(tmp_path, policy))
    assert [said.seq for said in heard] == list(range(FRAMES))
    assert {said.answered_by for said in heard} == {by}
    seen = [end - begin for begin, end in zip(observer.captured_ms, observer.answered_ms, strict=True)]
    summed = [sum(stages_of(said).values()) for said in heard]
    off = [abs(ours - theirs) / theirs for ours, theirs in zip(summed, seen, strict=True)]
    assert statistics.median(off) < 0.02
    assert all(said.capture_ms > 0.0 and said.wait_ms > 0.0 and said.head_ms >= 0.0 for said in heard)
    nothing = {"device": {"link", "queue", "decode", "tail", "reply"}, "edge": set[str]()}[by]
    for stage in set(STAGES) - {"vain", "fallback", "queue", "encode"}:
        passed = any(stages_of(said)[stage] > 0.0 for said in heard)
        assert passed == (stage not in nothing), stage
