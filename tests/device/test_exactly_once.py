"""A device and a group joined by a channel that loses, doubles, delays and reorders, with kills between."""

from random import Random
from typing import Any

import numpy as np
import pytest

from bandits.federation import Group
from bandits.statistics import Statistics
from bus import messages as m
from bus.statistics import pack_symmetric, unpack_symmetric
from bus.tensors import buffer_of, view
from device import commands as c
from device import events as e
from device.limits import Limits
from device.session import DeviceSession
from device.state_bytes import decode_state
from tests.support.device_parts import LOCAL_HEAD, MODEL, ORIGIN, PLAN, SCHEMA, session
from tests.support.pump import Pump

LIMITS = Limits(deadline_ms=1000.0, wait_edge_s=0.0, save_every_s=0.2, resend_s=0.3, flush_s=1000.0)


class World:
    """One device on a lossy channel to one group; time is a number."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.up: Pump[m.StatisticsUpload] = Pump(seed)
        self.down: Pump[e.Event] = Pump(seed + 1)
        self.group = Group(PLAN.dimension, ORIGIN)
        self.merged: dict[tuple[int, int], Statistics] = {}
        self.now = 0.0
        self.disk: bytes | None = None
        self.boot = 0
        self.stopped = False
        self.start()

    def start(self) -> None:
        self.boot += 1
        restored: dict[str, Any] | None = None if self.disk is None else decode_state(self.disk)
        self.device: DeviceSession = session(
            "fedlinucb_dw", boot=self.boot, limits=LIMITS, restored=restored, warm_start=8
        )
        self.post(e.Started())
        self.post(e.LinkCameUp("control"))

    def post(self, event: e.Event) -> None:
        events = [event]
        while events:
            for command in self.device.handle(events.pop(0), self.now):
                match command:
                    case c.SaveSnapshot(number, payload):
                        if self.random.random() < 0.1 and not self.up.lossless:
                            events.append(e.SnapshotFailed(number, "disk full"))
                        else:
                            self.disk = payload
                            events.append(e.SnapshotSaved(number))
                    case c.SendUpload(upload):
                        assert self.disk is not None
                        self.up.put(upload, self.now)
                    case c.RunWarmStart(rows):
                        row = e.ExitRow((0.5, 0.0, 0.0, 0.0), 0.1)
                        events.append(e.WarmStartFinished((row,) * rows))
                    case c.RunHead(turn):
                        events.append(e.HeadFinished(turn, LOCAL_HEAD))
                    case c.CaptureNext():
                        pass
                    case c.Stop():
                        self.stopped = True
                    case _:
                        pass
            self.device.check()

    def step(self, seconds: float) -> None:
        self.now += seconds
        for upload in self.up.due(self.now):
            self.merge(upload)
        for event in self.down.due(self.now):
            self.post(event)
        deadline = self.device.next_deadline()
        if deadline is not None and deadline <= self.now:
            self.post(e.DeadlinePassed())

    def merge(self, upload: m.StatisticsUpload) -> None:
        moment = view(upload.moment, "float64", (upload.dimension,)).astype(np.float64)
        gram = unpack_symmetric(upload.gram, upload.dimension)
        statistics = Statistics(gram, moment, upload.count, upload.sum_squares)
        result = self.group.merge(upload.device, upload.install, upload.boot, upload.seq, statistics)
        first = self.merged.setdefault((upload.boot, upload.seq), statistics)
        assert np.array_equal(first.gram, statistics.gram)  # a number never stands for two contents
        ack = m.UploadAck(
            device=upload.device,
            install=upload.install,
            boot=upload.boot,
            seq=upload.seq,
            model=MODEL,
            origin=ORIGIN,
            version=result.version,
        )
        self.down.put(e.AckArrived(ack), self.now)
        group = self.group.statistics
        self.down.put(
            e.GroupBroadcast(
                m.GroupParameters(
                    group="pi4",
                    model=MODEL,
                    schema=SCHEMA,
                    origin=ORIGIN,
                    version=self.group.version,
                    dimension=PLAN.dimension,
                    gram=pack_symmetric(group.gram),
                    moment=buffer_of(group.moment),
                    count=group.count,
                    sum_squares=group.sum_squares,
                    members=1,
                )
            ),
            self.now,
        )


@pytest.mark.parametrize("seed", range(12))
def test_what_the_group_holds_is_each_upload_once_whatever_is_lost_doubled_late_or_killed(seed: int) -> None:
    world = World(seed)
    for frame in range(120):
        world.post(e.FrameCaptured(f"f{frame}"))
        world.step(0.1)
        if world.random.random() < 0.05:  # kill -9, and another start from what was on the disk
            world.start()
    world.up.lossless = world.down.lossless = True
    world.post(e.StopRequested("the test is over"))
    for _ in range(3000):
        if world.stopped:
            break
        world.step(0.1)
    assert world.stopped
    device = world.device
    assert device.uploads is not None
    assert device.uploads.drained
    assert device.uploads.counts.sent == device.uploads.counts.merged
    assert device.uploads.counts.refused == 0
    total = Statistics.ridge(PLAN.dimension, 0.1)
    for statistics in world.merged.values():
        total += statistics
    assert np.allclose(total.gram, world.group.statistics.gram, rtol=1e-12)
    assert total.count == world.group.statistics.count == sum(s.count for s in world.merged.values())
    assert total.count >= 8
    # Early-exit rows went up once in the life of the install, restarts or not.
    assert [key for key, s in world.merged.items() if key == (1, 1)]
    assert len(world.merged) == world.group.version


def test_nothing_is_sent_before_the_snapshot_that_holds_it() -> None:
    device = session("fedlinucb_dw", limits=LIMITS, warm_start=8)
    device.handle(e.Started(), 0.0)
    device.handle(e.LinkCameUp("control"), 0.0)
    device.handle(e.SnapshotSaved(1), 0.0)
    row = e.ExitRow((0.5, 0.0, 0.0, 0.0), 0.1)
    commands = device.handle(e.WarmStartFinished((row,) * 8), 0.1)
    assert not [x for x in commands if isinstance(x, c.SendUpload)]
    (save,) = (x for x in commands if isinstance(x, c.SaveSnapshot))
    (failed, *_) = device.handle(e.SnapshotFailed(save.number, "disk full"), 0.2)
    assert isinstance(failed, c.Note)
    (again,) = device.handle(e.DeadlinePassed(), 6.0)
    assert isinstance(again, c.SaveSnapshot)
    (send,) = device.handle(e.SnapshotSaved(again.number), 6.0)[1:]
    assert isinstance(send, c.SendUpload)
    assert (send.upload.phase, send.upload.seq, send.upload.count) == ("offline", 1, 8)


def test_a_refused_upload_is_set_aside_and_never_sent_again() -> None:
    device = session("fedlinucb_dw", limits=LIMITS, warm_start=8)
    device.handle(e.Started(), 0.0)
    device.handle(e.LinkCameUp("control"), 0.0)
    device.handle(e.SnapshotSaved(1), 0.0)
    row = e.ExitRow((0.5, 0.0, 0.0, 0.0), 0.1)
    device.handle(e.WarmStartFinished((row,) * 8), 0.1)
    device.handle(e.SnapshotSaved(2), 0.1)
    refusal = m.UploadRefusal(device="cam-1", install="1111222233334444", boot=1, seq=1, reason="implausible")
    note = device.handle(e.RefusalArrived(refusal), 0.2)[0]
    assert isinstance(note, c.Note)
    assert note.event == "upload_refused_and_set_aside"
    for second in range(1, 200):
        assert not [
            x for x in device.handle(e.DeadlinePassed(), float(second)) if isinstance(x, c.SendUpload)
        ]
    assert device.uploads is not None
    assert device.uploads.counts.refused == 1
    device.check()


def test_a_type_that_no_group_takes_is_a_sentence_for_a_person() -> None:
    device = session("fedlinucb_dw", limits=LIMITS, warm_start=8)
    device.handle(e.Started(), 0.0)
    device.handle(e.LinkCameUp("control"), 0.0)
    device.handle(e.SnapshotSaved(1), 0.0)
    row = e.ExitRow((0.5, 0.0, 0.0, 0.0), 0.1)
    device.handle(e.WarmStartFinished((row,) * 8), 0.1)
    device.handle(e.SnapshotSaved(2), 0.1)
    refusal = m.UploadRefusal(
        device="cam-1", install="1111222233334444", boot=1, seq=1, reason="unknown_type"
    )
    *_, stop = device.handle(e.RefusalArrived(refusal), 0.2)
    assert isinstance(stop, c.Stop)
    assert "correct --type" in stop.error
    # Said again, as to somebody else before, it says nothing.
    assert not device.handle(e.RefusalArrived(refusal), 0.3)
