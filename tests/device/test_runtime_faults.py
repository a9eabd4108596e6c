"""The device as it runs when its disk, its network or its broker fails it."""

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bus.address import BrokerAddress
from bus.connection import Endpoint
from bus.errors import ConfigurationError
from bus.memory import MemoryBroker
from bus.topics import STATE, Topics
from bus.wire import encode
from device import events as e
from device.compute import Frame, LocalAnswer
from device.plan import Plan
from device.runtime import run_device
from device.settings import DeviceSettings, DeviceSummary
from tests.support.device_parts import LOCAL_HEAD, MODEL, PLAN, REMOTE_HEAD, edge_state


class Scripted:
    """Computes nothing; raises where it is told to."""

    plan: Plan = PLAN
    exit_count, input_size, emulated, label = 2, (8, 8), True, "scripted"

    def __init__(self, *failing: str, payload: bytes = b"jpeg") -> None:
        self.failing = failing
        self.head = replace(REMOTE_HEAD, payload=payload, kept="kept")

    def _run(self, what: str) -> None:
        if what in self.failing:
            raise MemoryError(what)

    def run_head(self, frame: Frame, arm: int, until: int | None = None) -> e.Head:
        self._run("head")
        assert frame.dtype == np.uint8
        return LOCAL_HEAD if arm == PLAN.device_arm else self.head

    def finish(self, kept: object, exit_index: int | None = None) -> LocalAnswer:
        self._run("fallback")
        assert kept == "kept"
        return LocalAnswer(3, 0.5, 1.0)

    def run_exits(self, frame: Frame, exit_index: int) -> e.ExitRow:
        self._run("exits")
        return e.ExitRow((0.5, 0.0, 0.0, float(exit_index)), 0.01)


def play(
    compute: Scripted, *, limit_bytes: int = 2**20, seen: list[e.Event] | None = None, **changes: Any
) -> DeviceSummary:
    """Run three frames beside an edge worker that is announced and never answers."""
    fields: dict[str, Any] = {
        "id": "cam-1",
        "type": "pi4",
        "broker": BrokerAddress(),
        "policy": "edge_only_jpeg",
        "frames": 3,
        "deadline_ms": 40.0,
        "flush_s": 0.0,
        **changes,
    }

    async def main() -> DeviceSummary:
        broker = MemoryBroker()
        connect = partial(broker.connect, max_payload_bytes=limit_bytes)
        async with asyncio.timeout(20), broker.connect(Endpoint("edge-1")) as edge:
            topic = Topics().of(STATE, role="edge", id="edge-1")
            await edge.publish(topic, encode(STATE, edge_state()), qos=1, retain=True)
            watch = None if seen is None else seen.append
            return await run_device(
                DeviceSettings(**fields), compute=compute, connect=connect, on_event=watch
            )

    return asyncio.run(main())


def test_a_reply_that_never_comes_is_a_fallback_each_frame() -> None:
    summary = play(Scripted())
    assert summary.answered_by == {"device": 0, "edge": 0, "fallback": 3}
    assert summary.policies["edge_only_jpeg"].payload_bytes == 3 * len(b"jpeg")


def test_a_request_too_large_for_the_broker_is_a_fallback_at_once() -> None:
    seen: list[e.Event] = []
    summary = play(Scripted(payload=bytes(20_000)), limit_bytes=16_000, seen=seen, deadline_ms=3000.0)
    failed = [event for event in seen if isinstance(event, e.SendFailed)]
    assert [event.reason for event in failed] == ["too_large"] * 3
    assert summary.answered_by["fallback"] == 3
    assert summary.policies["edge_only_jpeg"].payload_bytes == 0


@pytest.mark.parametrize("failing", ["head", "fallback"])
def test_computing_that_raises_rejects_the_frame_and_the_device_goes_on(failing: str) -> None:
    summary = play(Scripted(failing))
    assert summary.frames_sent == 3
    assert summary.policies["edge_only_jpeg"].rejected == {"compute_failed": 3}


def test_early_exits_that_raise_leave_the_device_without_a_warm_start() -> None:
    seen: list[e.Event] = []
    summary = play(Scripted("exits"), seen=seen, policy="fedlinucb_dw", warm_start=4)
    (finished,) = (event for event in seen if isinstance(event, e.WarmStartFinished))
    assert (finished.rows, finished.reason) == ((), "MemoryError: exits")
    assert summary.frames_answered == 3


def test_a_disk_that_refuses_stops_no_frame_and_sends_no_statistics(tmp_path: Path) -> None:
    # A folder where the state file should be: the rename over it fails, as on a full disk.
    (tmp_path / f"device-cam-1-pi4-{MODEL}-{PLAN.with_measured_link().schema}.state.new").mkdir()
    seen: list[e.Event] = []
    summary = play(Scripted(), seen=seen, policy="fedlinucb_dw", warm_start=4, state_dir=tmp_path)
    assert [event for event in seen if isinstance(event, e.SnapshotFailed)]
    assert not [event for event in seen if isinstance(event, e.UploadSent)]
    assert summary.frames_answered == 3
    assert summary.metrics["snapshots_failing"] == 1
    # Numbers only: a reader of metrics refuses the whole message for one true or false.
    assert not [name for name, value in summary.metrics.items() if isinstance(value, bool)]


@pytest.mark.parametrize(
    ("playing", "key_frames"),
    [
        ({"policy": "ans"}, [True, False, False]),
        ({"policy": "device_only", "compare": ("ans",)}, [True, False, False]),
        ({"policy": "device_only"}, [True, True, True]),
    ],
)
def test_frames_are_compared_only_if_ans_plays(
    tmp_path: Path, playing: dict[str, Any], key_frames: list[bool]
) -> None:
    Image.new("RGB", (16, 16), "teal").save(tmp_path / "same.png")
    seen: list[e.Event] = []
    play(Scripted(), seen=seen, source=str(tmp_path), **playing)
    captured = [event for event in seen if isinstance(event, e.FrameCaptured)]
    assert [event.key_frame for event in captured] == key_frames


def test_what_ended_a_device_is_not_hidden_by_its_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> DeviceSummary:
        raise KeyError("best")

    def next_frame(_: object) -> Frame:
        raise ConfigurationError("the camera is gone")

    monkeypatch.setattr("device.runtime.summarise", broken)
    monkeypatch.setattr("device.frames._Crops.next_frame", next_frame)
    with pytest.raises(ConfigurationError, match="the camera is gone"):
        play(Scripted())


def test_ans_is_given_a_profile_of_the_heads() -> None:
    summary = play(Scripted(), policy="ans", compare=("device_only",))
    assert summary.frames_answered == 3
    assert set(summary.policies) == {"ans", "device_only"}
