"""An edge worker and an aggregator in simulated time, and what must be true of what they say."""

from typing import assert_never

from aggregator import commands as merge_do
from aggregator import events as merge_ev
from aggregator import receiving as uploads
from aggregator.keys import Grouping
from aggregator.ledger import Ledger, Limits
from aggregator.session import AggregatorSession
from bus.connection import Delivery
from bus.messages import Decision, UploadAck
from bus.presence import Presence
from bus.topics import ACK, GROUPS, INFER, QUEUE, REPLY, STATE, STATS, Role
from bus.wire import encode, encode_metrics
from edge import commands as tail_do
from edge import events as tail_ev
from edge import receiving as requests
from edge.batching import Batch
from edge.session import EdgeSession
from tests.support.device_parts import MODEL, PLAN
from tests.support.simulated_books import Name, contains
from tests.support.simulated_broker import TOPICS, Link
from tests.support.simulated_device import CLASSES
from tests.support.simulated_nodes import Disk, Node, World

_ARMS = frozenset((arm.cut, arm.codec) for arm in PLAN.arms if arm is not PLAN.arms[PLAN.device_arm])
_BATCHES = {cut: Batch(4, 1.0) for cut, _ in _ARMS}
_OUTPUT = memoryview(bytes(CLASSES))
LIMITS = Limits()


class EdgeNode(Node[tail_ev.Event, tail_do.Command]):
    """One edge worker; it keeps nothing."""

    role = "edge"

    def __init__(self, world: World, name: str, workers: int) -> None:
        filters = {"control": (), "data": (TOPICS.filter(INFER, edge=name),)}
        super().__init__(world, name, tail_ev.DeadlinePassed(), tail_ev.StopRequested(), filters)
        self.workers = workers
        self.session: EdgeSession
        self._asked: set[str] = set()
        self._ended: set[str] = set()

    def begin(self) -> EdgeSession:
        self._asked, self._ended = set(), set()
        self.session = EdgeSession(self.name, {MODEL: _ARMS}, batches={MODEL: _BATCHES}, workers=self.workers)
        return self.session

    def begun(self) -> None:
        for worker in range(self.workers):
            self.later(self.some(0.0, 0.2), tail_ev.WorkerIdle(worker))

    def announcements(self, link: Link, *, lost: bool) -> list[tuple[str, bytes]]:
        if link.name != "control":
            return []
        presence = Presence(TOPICS, Role.EDGE, self.name, self.boot, "0")
        said = self.session.announced
        state = "lost" if lost else said.state
        return [presence.announce(state, models=MODEL, load=said.load, speed=said.speed)]

    def delivered(self, delivery: Delivery) -> None:
        address = TOPICS.parse(delivery.topic)
        assert address is not None
        event = requests.receive(address.fields["device"], delivery)
        assert isinstance(event, tail_ev.RequestArrived)
        self._asked.add(event.request.id)
        self.post(event)

    def link_changed(self, link: Link) -> None:
        if link.name == "control":
            self.post(tail_ev.LinkUp() if link.up else tail_ev.LinkDown())

    def execute(self, command: tail_do.Command) -> None:
        match command:
            case tail_do.RunTail(worker, requests):
                self.world.met["batch"] += len(requests) > 1
                self._run_tail(worker, [int.from_bytes(each.payload, "big") for each in requests])
            case tail_do.PublishReply(device, reply):
                self._say(device, reply)
            case tail_do.PublishRejection(device, rejection):
                self.world.met[f"edge rejects: {rejection.reason}"] += 1
                self._say(device, rejection)
            case tail_do.AnnounceState():
                control = self.links["control"]
                for topic, payload in self.announcements(control, lost=False):
                    self.world.broker.publish(control, STATE, topic, payload)
            case tail_do.PublishQueue(notice):
                topic = TOPICS.of(QUEUE, edge=self.name)
                self.world.broker.publish(self.links["data"], QUEUE, topic, encode(QUEUE, notice))
            case tail_do.PublishMetrics(values):
                encode_metrics(values)
            case tail_do.DropModel():
                raise AssertionError("this site's model stays")
            case tail_do.Stop():
                assert self._asked == self._ended, f"{self.name} owes {self._asked - self._ended}"
                assert not sum(self.session.tally.faults.metrics().values())
                self.stop()
            case _:
                assert_never(command)

    def _run_tail(self, worker: int, frames: list[int]) -> None:
        took_s = self.some(0.5, 2.0) if self.world.goes_wrong(0.05) else self.some(0.02, 0.3)
        outcomes = tuple(self._outcome(frame, took_s) for frame in frames)
        self.later(took_s, tail_ev.TailFinished(worker, outcomes))

    def _outcome(self, frame: int, took_s: float) -> tail_ev.Output | tail_ev.Failure:
        if self.world.goes_wrong(0.02):
            return tail_ev.Failure(None, "the tail failed here: MemoryError")
        return tail_ev.Output(
            frame % CLASSES, 0.9, "uint8", (CLASSES,), _OUTPUT, took_s * 100.0, took_s * 900.0
        )

    def _say(self, device: str, decision: Decision) -> None:
        assert decision.id not in self._ended, f"{self.name} has ended {decision.id} twice"
        self._ended.add(decision.id)
        topic = TOPICS.of(REPLY, device=device)
        self.world.broker.publish(self.links["data"], REPLY, topic, encode(REPLY, decision))


class AggregatorNode(Node[merge_ev.Event, merge_do.Command]):
    """The aggregator.

    Attributes:
        durable: the ledger that its disk holds.
    """

    role = "aggregator"

    def __init__(self, world: World, grouping: Grouping) -> None:
        filters = {"control": (TOPICS.filter(STATS),)}
        super().__init__(world, "main", merge_ev.DeadlinePassed(), merge_ev.StopRequested(), filters)
        self.disk: Disk[bytes] = Disk(world, self._landed)
        self.durable = Ledger("0" * 16, LIMITS)
        self.session: AggregatorSession
        self._grouping = grouping

    def begin(self) -> AggregatorSession:
        origin = f"{self.boot:016x}"  # as the runtime does: without meaning once there is a snapshot
        self.session = AggregatorSession(
            self._grouping, origin=origin, snapshot=self.disk.content, limits=LIMITS
        )
        return self.session

    def begun(self) -> None:
        self.deadline = self.session.next_deadline()

    def kill(self) -> None:
        super().kill()
        self.disk.killed()

    def delivered(self, delivery: Delivery) -> None:
        address = TOPICS.parse(delivery.topic)
        assert address is not None
        before = self.session.tally.duplicates
        self.post(uploads.receive(address.fields["device"], address.fields["type"], delivery.payload))
        self.world.met["upload repeated"] += self.session.tally.duplicates - before

    def link_changed(self, link: Link) -> None:
        self.post(merge_ev.LinkUp() if link.up else merge_ev.LinkDown())

    def execute(self, command: merge_do.Command) -> None:
        match command:
            case merge_do.SaveSnapshot(payload):
                self.disk.write(payload, lambda works: self.post(_saved(works)))
            case merge_do.PublishAck():
                self._acknowledge(command)
            case merge_do.PublishGroup():
                self._broadcast(command)
            case merge_do.AnnounceState() | merge_do.ReportVerdict():
                pass  # nobody reads it but people
            case merge_do.PublishMetrics(values):
                encode_metrics(values)
            case merge_do.Stop():
                assert not sum(self.session.tally.faults.metrics().values())
                self.stop()
            case _:
                assert_never(command)

    def _landed(self, payload: bytes) -> None:
        self.durable = Ledger.load(payload, LIMITS)
        self.world.books.durable(self.durable)

    def _acknowledge(self, command: merge_do.PublishAck) -> None:
        ack = command.message
        assert isinstance(ack, UploadAck), f"honest statistics were refused: {ack}"
        name = Name(command.type, ack.device, ack.install, ack.boot, ack.seq)
        assert contains(self.durable, name), f"{name} was acknowledged before it was durable"
        for (type_, version), inside in self.world.books.contents.items():
            if type_ == command.type and version >= ack.version:
                assert name in inside, f"{name} is not in version {version}"
        topic = TOPICS.of(ACK, type=command.type, device=command.device)
        self.world.broker.publish(self.links["control"], ACK, topic, encode(ACK, ack))

    def _broadcast(self, command: merge_do.PublishGroup) -> None:
        version = command.parameters.version
        assert version <= self.durable[command.key].version, "a version was told before it was durable"
        assert command.types == (command.key.group,)
        succeeded = True
        for type_ in command.types:
            topic = TOPICS.of(GROUPS, type=type_, model=command.parameters.model)
            payload = encode(GROUPS, command.parameters)
            succeeded &= self.world.broker.publish(self.links["control"], GROUPS, topic, payload)
        self.later(self.some(0.001, 0.1), merge_ev.BroadcastEnded(command.key, succeeded=succeeded))


def _saved(works: bool) -> merge_ev.Event:
    return merge_ev.SnapshotSaved() if works else merge_ev.SnapshotFailed("No space left on device")
