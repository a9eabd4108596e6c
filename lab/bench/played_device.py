"""A device's session and learner beside a real aggregator's sums, fed with a site's frames, and timed.

Everything that a device decides is in it: frames, requests, replies, feedback, link checks, uploads, adopted
groups, snapshots as bytes. What is not: torch, sockets and the disk, which answer at once.
"""

from time import thread_time

from aggregator.keys import GroupKey
from aggregator.ledger import Ledger, Limits
from bandits.federation import Merged
from bandits.settings import PRACTICE
from bus.messages import Columns, InferenceReply, State, StatisticsUpload, UploadAck
from device import commands as do
from device import events as ev
from device import limits as device_limits
from device.plan import Identity, Plan, PlanArm
from device.policies import build_policy
from device.policy_names import LEARNER
from device.session import DeviceSession
from lab.network_table import load_table
from lab.simulator.world import Turn

_HASH = "0123456789abcdef"
_CHECK_S = 0.05
_END = 1_000  # a cut behind all others


def plan() -> Plan:
    """Return the plan of a real network, from its table."""
    table = load_table("mobilenet_v2")
    return Plan(
        model=_HASH,
        schema=_HASH,
        arms=tuple(_arm_of(label) for label in table.arms),
        contexts=table.matrix(),
        front=table.front,
        device_arm=table.arms.index("end/none"),
        link=table.columns.index("link.bits"),
        columns=Columns(names=table.columns, input_elements=224 * 224 * 3),
    ).with_measured_link()


def _arm_of(label: str) -> PlanArm:
    cut, _, codec = label.partition("/")
    return PlanArm(int(cut) if cut.isdecimal() else _END, codec)


class PlayedDevice:
    """One device that plays turns.

    Args:
        policy: by name, as `cans device --policy` has it.

    Attributes:
        spent_s: processor seconds that session and learner have taken so far.
        saved, merged: snapshots and uploads so far.
    """

    def __init__(self, policy: str = LEARNER) -> None:
        self.spent_s = 0.0
        self.saved = self.merged = 0
        self._plan = plan()
        self._key = GroupKey("phone", _HASH, self._plan.schema, self._plan.dimension)
        self._ledger = Ledger(_HASH, Limits())
        self._turn: Turn | None = None
        self._session = DeviceSession(
            Identity("cam-1", "phone", _HASH, 1),
            self._plan,
            (build_policy(policy, self._plan, PRACTICE, boot=1),),
            draw=lambda: 0.0,
            limits=device_limits.Limits(),
        )
        edge = State(role="edge", id="edge-1", state="ready", boot=1, version="1", models=_HASH)
        for event in (ev.Started(), ev.LinkCameUp("control"), ev.LinkCameUp("data"), ev.EdgeAnnounced(edge)):
            self._post(event, 0.0)

    def play(self, turn: Turn) -> None:
        """Play one frame to its end, with all that follows from it."""
        self._turn = turn
        self._post(ev.FrameCaptured(None), turn.at_s)

    def _post(self, event: ev.Event, now: float) -> None:
        before = thread_time()
        commands = self._session.handle(event, now)
        self.spent_s += thread_time() - before
        for command in commands:
            self._carry_out(command, now)

    def _carry_out(self, command: do.Command, now: float) -> None:
        match command:
            case do.RunHead():
                self._run_head(command, now)
            case do.SendRequest():
                self._answer(command, now)
            case do.SaveSnapshot(number):
                self.saved += 1
                self._post(ev.SnapshotSaved(number), now)
            case do.SendUpload(upload):
                self._merge(upload, now)
            case do.PublishFeedback(_, check) if check:
                self._post(ev.LinkChecked(check, _CHECK_S), now + _CHECK_S)
            case _:
                pass

    def _run_head(self, command: do.RunHead, now: float) -> None:
        assert self._turn is not None
        head_s = self._turn.cost_of(command.arm).device_s or 0.0
        payload, top = (b"", (1, 0.5)) if command.arm == self._plan.device_arm else (b"x", None)
        self._arm = command.arm
        head = ev.Head(payload, "uint8", (1,), 1e3 * head_s, 0.0, top=top)
        self._post(ev.HeadFinished(command.turn, head), now + head_s)

    def _answer(self, command: do.SendRequest, now: float) -> None:
        assert self._turn is not None
        cost = self._turn.cost_of(self._arm)
        rest_s, link_s = cost.rest_s or 0.0, cost.link_s or 0.0
        reply = InferenceReply(
            id=command.request.id, edge="edge-1", top=1, confidence=0.5, dtype="float32", shape=(1, 1),
            payload=memoryview(b"0000"), queue_ms=0.0, decode_ms=0.0,
            tail_ms=1e3 * max(0.0, rest_s - link_s), load=0.0,
        )  # fmt: skip
        self._post(ev.ReplyArrived(reply), now + rest_s)

    def _merge(self, upload: StatisticsUpload, now: float) -> None:
        result = self._ledger.merge(self._key, upload)
        assert isinstance(result, Merged)
        self.merged += 1
        ack = UploadAck(
            device=upload.device, install=upload.install, boot=upload.boot, seq=upload.seq,
            model=upload.model, origin=self._ledger.origin, version=result.version,
        )  # fmt: skip
        self._post(ev.AckArrived(ack), now)
        self._post(ev.GroupBroadcast(self._ledger.parameters(self._key)), now)
