"""A device in simulated time, and what must be true of its frames and its statistics."""

from collections import Counter
from itertools import count
from typing import Any

import numpy as np

from bandits.fedlinucb import FedLinUCBDW
from bandits.member import Member
from bandits.settings import Settings
from bandits.statistics import Statistics
from bus.connection import Delivery
from bus.topics import ACK, FEEDBACK, GROUPS, INFER, REPLY, STATE, STATS
from bus.wire import decode, encode
from device import commands as do
from device import events as ev
from device.inbound import event_of
from device.limits import Limits
from device.plan import Identity
from device.policies import build_policy
from device.session import DeviceSession
from device.state_bytes import decode_state
from tests.support.device_parts import MODEL, PLAN
from tests.support.simulated_books import same, same_rows
from tests.support.simulated_broker import TOPICS, Link
from tests.support.simulated_nodes import Disk, Node, World

MAIN = "fedlinucb_dw"
POLICIES = (MAIN, "edge_only_jpeg")
CLASSES = 1000
LEARNER = Settings(alpha=0.1)  # uploads more often
_COLUMNS = np.array(PLAN.front)


def head_of(frame: int, arm: int, head_s: float) -> ev.Head:
    """What a head leaves: the frame's number, so that an answer to another frame is seen."""
    head_ms = head_s * 1000.0
    if arm == PLAN.device_arm:
        return ev.Head(b"", "float32", (1, CLASSES), head_ms, 0.0, frame, (frame % CLASSES, 0.5))
    return ev.Head(frame.to_bytes(8, "big"), "uint8", (8,), 0.9 * head_ms, 0.1 * head_ms, frame)


def rows_of(arm: int) -> Statistics:
    """The rows that a frame adds; their costs are not looked at."""
    x = PLAN.contexts[arm]
    device = x * _COLUMNS
    rows = np.stack([device, x - device]) if (x - device).any() else x[None, :]
    return Statistics.zeros(PLAN.dimension).add_rows(rows, np.zeros(len(rows)))


class DeviceNode(Node[ev.Event, do.Command]):
    """One device.

    Attributes:
        learnt: the rows that this device knows of itself: all that were learnt since the first start, less
            what no snapshot held at a kill.
    """

    role = "device"

    def __init__(self, world: World, name: str, type_: str, number: int, limits: Limits, rows: int) -> None:
        acks, groups = TOPICS.of(ACK, type=type_, device=name), TOPICS.of(GROUPS, type=type_, model=MODEL)
        control = (acks, groups, TOPICS.filter(STATE, role="edge"))
        data = (TOPICS.of(REPLY, device=name),)
        leave = ev.StopRequested("SIGTERM")
        super().__init__(world, name, ev.DeadlinePassed(), leave, {"control": control, "data": data})
        self.type = type_
        self.limits = limits
        self.warm_start = rows
        self.install = f"{number:016x}"
        self.disk: Disk[tuple[bytes, Statistics]] = Disk(world)
        self.session: DeviceSession
        self.learnt = Statistics.zeros(PLAN.dimension)
        self._numbers = count(number, 10)
        self._request_ids: set[str] = set()
        self._frames: list[int] = []
        self._ended: Counter[tuple[int, str]] = Counter()
        self._arm = self._excused = 0
        self._epoch = -1

    @property
    def member(self) -> Member:
        """Its half of the federation."""
        main = self.session._policies[0]
        assert isinstance(main, FedLinUCBDW)
        return main.member

    def begin(self) -> DeviceSession:
        restored: dict[str, Any] | None = None
        self.learnt = Statistics.zeros(PLAN.dimension)
        if self.disk.content is not None:
            payload, self.learnt = self.disk.content
            restored = decode_state(payload)
        self._frames, self._ended, self._excused = [], Counter(), 0
        self.session = DeviceSession(
            Identity(self.name, self.type, self.install, self.boot),
            PLAN,
            tuple(build_policy(name, PLAN, LEARNER, boot=self.boot) for name in POLICIES),
            draw=self.world.random.random,
            limits=self.limits,
            warm_start=self.warm_start,
            restored=restored,
        )
        return self.session

    def begun(self) -> None:
        self._check_view()
        self.post(ev.Started())

    def kill(self) -> None:
        super().kill()
        self.disk.killed()

    def delivered(self, delivery: Delivery) -> None:
        event = event_of(TOPICS, delivery)
        if event is not None:
            self.post(event)

    def link_changed(self, link: Link) -> None:
        name: ev.Link = "control" if link.name == "control" else "data"
        self.post(ev.LinkCameUp(name) if link.up else ev.LinkWentDown(name))

    def post(self, event: ev.Event) -> None:
        match event:
            case ev.FrameCaptured(int(frame)):
                self._frames.append(frame)
            case ev.WarmStartFinished(rows) if self.session.phase == "warming":
                contexts = np.array([row.context for row in rows])
                self.learnt = self.learnt.add_rows(contexts, np.zeros(len(contexts)))
        super().post(event)
        if self.member.epoch != self._epoch:
            self._epoch = self.member.epoch
            self._check_view()

    def execute(self, command: do.Command) -> None:  # noqa: C901 - a table
        match command:
            case do.RunWarmStart(rows):
                row = ev.ExitRow((0.5, 0.0, 0.0, 0.0), 0.1)
                self.later(self.some(0.2, 1.0), ev.WarmStartFinished((row,) * rows))
            case do.CaptureNext(at) if not self.world.dry:
                delay_s = max(0.0, at - self.world.now) + self.some(0.001, 0.02)
                self.later(delay_s, ev.FrameCaptured(next(self._numbers)))
            case do.RunHead(turn, int(frame), arm):
                self._arm = arm
                head_s = self.some(0.01, 0.08)
                self._computed(turn, head_s, ev.HeadFinished(turn, head_of(frame, arm, head_s)))
            case do.RunFallback(turn, int(frame)):
                took_s = self.some(0.02, 0.2)
                done = ev.FallbackFinished(turn, frame % CLASSES, 0.5, took_s * 1000.0)
                self._computed(turn, took_s, done)
            case do.SendRequest():
                self._send_request(command)
            case do.SendUpload():
                self._send_upload(command)
            case do.SaveSnapshot(number, payload):
                self.disk.write((payload, self.learnt), lambda works: self.post(_saved(number, works)))
            case do.PublishFeedback(feedback):
                assert decode(FEEDBACK, encode(FEEDBACK, feedback)) == feedback
            case do.Answer():
                self._answered(command)
            case do.RejectFrame(seq, policies, reason):
                assert reason
                self.world.met[f"rejected: {reason}"] += len(policies)
                for policy in policies:
                    self._end_turn(seq, policy)
            case do.Stop(error):
                assert not error
                self._check_handed_in()
                self.stop()
            case _:
                assert isinstance(command, do.CaptureNext | do.Note), command

    def _computed(self, turn: int, took_s: float, done: ev.Event) -> None:
        self.later(took_s, ev.ComputeFailed(turn, "no memory") if self.world.goes_wrong(0.03) else done)

    def _send_request(self, command: do.SendRequest) -> None:
        topic = TOPICS.of(INFER, edge=command.edge, device=self.name)
        payload = encode(INFER, command.request)
        assert command.request.id not in self._request_ids, "a late answer would be taken for this one's"
        self._request_ids.add(command.request.id)
        if self.world.goes_wrong(0.03):
            self.later(0.001, ev.SendFailed(command.turn, "link_busy"))
        elif self.world.broker.publish(self.links["data"], INFER, topic, payload):
            self.later(self.some(0.001, 0.05), ev.RequestSent(command.turn))
        else:
            self.later(0.001, ev.SendFailed(command.turn, "link_lost"))

    def _send_upload(self, command: do.SendUpload) -> None:
        upload = command.upload
        assert self.disk.content is not None, "an upload was sent before any snapshot"
        self.world.books.sent(upload, decode_state(self.disk.content[0]))
        topic = TOPICS.of(STATS, type=self.type, device=self.name)
        sent = self.world.broker.publish(self.links["control"], STATS, topic, encode(STATS, upload))
        number = (upload.boot, upload.seq)
        self.later(
            self.some(0.001, 0.1), ev.UploadSent(*number) if sent else ev.UploadSendFailed(*number, "lost")
        )

    def _answered(self, answer: do.Answer) -> None:
        self.world.met[f"answered by {answer.answered_by}"] += 1
        self._end_turn(answer.seq, answer.policy)
        assert answer.top == self._frames[answer.seq] % CLASSES, f"{answer} is of another frame"
        excused, self._excused = self._excused, self.session.turns.excused
        if answer.policy == MAIN and self._excused == excused:
            self.learnt += rows_of(self._arm)

    def _end_turn(self, seq: int, policy: str) -> None:
        self._ended[seq, policy] += 1
        assert self._ended[seq, policy] == 1, f"frame {seq} ended twice for {policy}"
        assert seq < len(self._frames)

    def _check_view(self) -> None:
        """The view is lambda I, what the adopted version holds of others, and each own row once."""
        view = self.member.view()
        expected = self.world.books.others_in(self.type, self.member.version, self.name) + self.learnt
        what = f"{self.name}'s view at version {self.member.version}"
        same_rows(view, expected, what)

    def _check_handed_in(self) -> None:
        """At `Stop` every turn has ended, and everything learnt is in the group."""
        wanted = {(seq, policy) for seq in range(len(self._frames)) for policy in POLICIES}
        assert wanted == set(self._ended), f"{self.name} stopped with {wanted ^ set(self._ended)} open"
        uploads = self.session.uploads
        assert uploads is not None
        assert uploads.drained
        assert uploads.counts.sent == uploads.counts.merged
        assert uploads.counts.refused == 0
        if not self.session.saver.failing:  # a disk that refuses does not keep a device from stopping
            assert self.disk.content is not None
            saved = decode_state(self.disk.content[0])["policies"][MAIN]["member"]
            settled = saved["in_flight"] is None and saved["local"]["count"] == 0
            assert settled, f"{self.name} stopped before that was on the disk"
        assert not sum(self.session.faults.metrics().values())

    def check_once_in_group(self) -> None:
        """All that was learnt went up, once; what it was started with once in the life of the install."""
        books = self.world.books
        names = [name for name in books.uploads if name.device == self.name]
        same_rows(books.sum_of(names), books.sum_of(()) + self.learnt, f"what {self.name} has sent")
        joined = len(books.offline.intersection(names))
        assert joined == (self.warm_start > 0), f"{self.name} was started warm {joined} times"

    def check_holds(self, group: Statistics, version: int) -> None:
        """It has adopted the newest version, and knows nothing besides."""
        assert self.member.version == version, f"{self.name} holds {self.member.version}, not {version}"
        same(self.member.view(), group, f"{self.name} at the end")


def _saved(number: int, works: bool) -> ev.Event:
    return ev.SnapshotSaved(number) if works else ev.SnapshotFailed(number, "disk full")
