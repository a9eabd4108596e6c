"""What a testbed's coordinator adds beside the frames: orders, reports, probes, joining."""

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bus.address import BrokerAddress
from bus.mqtt import open_connection
from bus.topics import Topics
from device.compute import load_compute
from device.settings import DeviceSettings
from lab.bench.rows import Row
from lab.simulator.experiment import load
from lab.testbed.coordinator import Coordinator, Repetition, Turn, endpoint_of, listening
from lab.testbed.lab_device import run_lab_device
from lab.testbed.orders import new_mark
from lab.testbed.plan import Block, Plan
from lab.transports.brokers import running

LIMIT_MS = 10.0
_PREFIX = "bench/testbed"
_FPS, _BLOCK = 10.0, 10
_EXPERIMENT = f"""
title = "A coordinator, timed"
seeds = 1
[testbed]
model = "mobilenet_v2"
block_frames = {_BLOCK}
repeats = 0
[world]
kind = "site"
fps = {_FPS}
frames = FRAMES
deadline_ms = 10000.0
[[world.types]]
name = "camera"
link = {{ kind = "constant", mbit_s = 100.0 }}
[policies.device_only]
"""


class _NoLinks:
    """Implements `lab.testbed.coordinator.Links` where there are none."""

    async def settle(self, devices: Sequence[str]) -> None:
        """Nothing moves."""

    async def play(self, device: str, mbit_s: Sequence[float], at_s: float) -> None:
        """Nothing follows."""

    async def hold(self, device: str, *, on: bool) -> None:
        """Nothing is carried anyway."""


def run(*, quick: bool) -> Iterator[Row]:
    """Play blocks of one device that keeps everything to itself, and take its frames' time off."""
    frames = 20 if quick else 200
    with running("mosquitto") as broker, tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "coordinator.toml")
        file.write_text(_EXPERIMENT.replace("FRAMES", str(frames)), encoding="utf-8")
        played = asyncio.run(_play(broker, Plan(load(file))))
    # Each block's first frame has its moment within a period, the last one ends before the next would begin.
    taken_s = sum(len(turn.played.rows) for turn in played.turns) / _FPS
    beside_ms = 1e3 * (played.took_s - taken_s) / frames
    yield Row(f"testbed: time beside the frames, blocks of {_BLOCK}, a frame", beside_ms, "ms", LIMIT_MS)


def _tell_nobody(block: Block, turns: Sequence[Turn]) -> None:
    del block, turns


async def _play(broker: BrokerAddress, plan: Plan) -> Repetition:
    topics, mark = Topics(_PREFIX), new_mark()
    device = plan.devices[0]
    settings = DeviceSettings(
        id=device.name,
        type=device.kind.name,
        broker=broker,
        prefix=_PREFIX,
        codecs=("uint8",),
        wait_edge_s=0.0,
    )
    compute = await asyncio.to_thread(load_compute, settings)
    async with open_connection(broker, endpoint_of(topics, mark)) as connection:
        coordinator = Coordinator(plan, connection, topics, _NoLinks(), _tell_nobody, mark=mark)
        device_task = asyncio.create_task(run_lab_device(settings, compute, broker), name="lab device")
        async with listening(coordinator):
            played = await coordinator.repetition(plan.seeds[0])
            await coordinator.leave()
        await device_task
    return played
