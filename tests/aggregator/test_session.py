"""The aggregator's session: whole command lists, and exactly once under every kind of trouble."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from aggregator import commands as do
from aggregator import events as ev
from aggregator.keys import Grouping, GroupKey
from aggregator.ledger import Limits
from aggregator.session import AggregatorSession
from bus.errors import ConfigurationError
from bus.messages import Columns, Refusal, StatisticsUpload, UploadAck, UploadRefusal
from bus.statistics import Bounds, pack_symmetric, unpack_symmetric
from bus.tensors import buffer_of

MODEL, SCHEMA, INSTALL, ORIGIN = ("0" * 16, "1" * 16, "2" * 16, "3" * 16)
KEY = GroupKey("pi4", MODEL, SCHEMA, 2)
NUMBER = ev.Number(INSTALL, 1, 1)


def upload(
    device: str = "cam-1", *, boot: int = 1, seq: int = 1, rows: int = 1, **changes: Any
) -> StatisticsUpload:
    x = np.array([1.0, 0.5])
    fields: dict[str, Any] = {
        "device": device,
        "type": "pi4",
        "model": MODEL,
        "schema": SCHEMA,
        "install": INSTALL,
        "boot": boot,
        "seq": seq,
        "phase": "online",
        "dimension": 2,
        "gram": pack_symmetric(rows * np.outer(x, x)),
        "moment": buffer_of(rows * 0.25 * x),
        "count": rows,
        "sum_squares": rows * 0.0625,
    }
    return StatisticsUpload(**(fields | changes))


def fresh(grouping: Grouping | None = None, **limits: int) -> AggregatorSession:
    return AggregatorSession(grouping or Grouping({}), origin=ORIGIN, limits=Limits(**limits))  # type: ignore[arg-type]


def ack(device: str = "cam-1", *, boot: int = 1, seq: int = 1, version: int = 1) -> do.PublishAck:
    message = UploadAck(
        device=device, install=INSTALL, boot=boot, seq=seq, model=MODEL, origin=ORIGIN, version=version
    )
    return do.PublishAck(device, "pi4", message)


def refusal(reason: Refusal, detail: str, device: str = "cam-1", type_: str = "pi4") -> do.PublishAck:
    message = UploadRefusal(device=device, install=INSTALL, boot=1, seq=1, reason=reason, detail=detail)
    return do.PublishAck(device, type_, message)


def test_nothing_is_acknowledged_or_broadcast_before_it_is_durable() -> None:
    session = fresh()
    session.handle(ev.LinkUp(), 0.0)
    commands = session.handle(ev.UploadArrived(upload()), 0.0)
    assert commands == [do.SaveSnapshot(session.ledger.dump())]
    assert session.handle(ev.UploadArrived(upload()), 0.0) == []  # a double of what is being saved
    parameters = session.ledger.parameters(KEY)
    assert session.handle(ev.SnapshotSaved(), 0.1) == [ack(), do.PublishGroup(KEY, ("pi4",), parameters)]
    session.check()
    assert session.handle(ev.UploadArrived(upload()), 0.2) == [ack()]


def test_what_comes_while_a_snapshot_is_written_goes_into_the_next_one() -> None:
    session = fresh()
    session.handle(ev.LinkUp(), 0.0)
    session.handle(ev.UploadArrived(upload("cam-1")), 0.0)
    saved = session.ledger.parameters(KEY)
    assert session.handle(ev.UploadArrived(upload("cam-2")), 0.0) == []
    assert session.handle(ev.UploadArrived(upload("cam-3")), 0.0) == []
    assert session.handle(ev.SnapshotSaved(), 0.0) == [
        ack("cam-1"),
        do.SaveSnapshot(session.ledger.dump()),
        do.PublishGroup(KEY, ("pi4",), saved),
    ]
    assert session.handle(ev.SnapshotSaved(), 0.0) == [ack("cam-2", version=2), ack("cam-3", version=3)]
    assert session.handle(ev.DeadlinePassed(), 0.2) == []  # the first broadcast has not ended
    (broadcast,) = session.handle(ev.BroadcastEnded(KEY, succeeded=True), 0.2)
    assert broadcast == do.PublishGroup(KEY, ("pi4",), session.ledger.parameters(KEY))
    session.check()


def test_a_full_disk_acknowledges_nothing_says_so_and_is_tried_again() -> None:
    session = fresh()
    session.handle(ev.LinkUp(), 0.0)
    session.handle(ev.UploadArrived(upload("cam-1")), 0.0)
    detail = "cannot save (No space left): uploads are merged but not acknowledged until it can"
    assert session.handle(ev.SnapshotFailed("No space left"), 0.0) == [do.AnnounceState("ready", detail)]
    assert session.next_deadline() == 0.5
    assert session.handle(ev.UploadArrived(upload("cam-2")), 0.1) == []
    assert session.handle(ev.DeadlinePassed(), 0.5) == [do.SaveSnapshot(session.ledger.dump())]
    assert session.handle(ev.SnapshotFailed("No space left"), 0.5) == []
    assert session.next_deadline() == 1.5
    session.handle(ev.DeadlinePassed(), 1.5)
    parameters = session.ledger.parameters(KEY)
    assert session.handle(ev.SnapshotSaved(), 1.5) == [
        ack("cam-1"),
        ack("cam-2", version=2),
        do.AnnounceState("ready", ""),
        do.PublishGroup(KEY, ("pi4",), parameters),
    ]
    session.check()


COLUMNS = Columns(names=("front.conv_macs", "offload"), input_elements=12)


def test_what_the_columns_mean_outlives_a_restart_and_is_said_in_words() -> None:
    session = fresh()
    session.handle(ev.UploadArrived(upload()), 0.0)
    assert session.words(KEY, session.ledger.parameters(KEY)).link == ""
    session.handle(ev.SnapshotSaved(), 0.0)
    # The device has started again: a repetition says more than the first time did.
    session.handle(ev.UploadArrived(upload(columns=COLUMNS)), 0.0)
    assert session.ledger.columns(KEY) == COLUMNS
    other = Columns(names=("offload", "offload"), input_elements=9)
    session.handle(ev.UploadArrived(upload(seq=2, columns=other)), 0.0)
    again = AggregatorSession(Grouping({}), origin="4" * 16, snapshot=session.ledger.dump())
    assert again.ledger.columns(KEY) == COLUMNS
    words = again.words(KEY, again.ledger.parameters(KEY), "today")
    assert (words.link, words.version, words.changed) == ("learned", 2, "today")


def test_columns_that_do_not_fit_are_not_believed_and_the_rows_are_merged_all_the_same() -> None:
    session = fresh()
    strange = Columns(names=("front.conv_macs",), input_elements=12)
    session.handle(ev.UploadArrived(upload(columns=strange)), 0.0)
    assert session.ledger.columns(KEY) is None
    assert session.tally.merged == 1


def test_a_snapshot_of_before_there_were_columns_is_read() -> None:
    session = fresh()
    session.handle(ev.UploadArrived(upload()), 0.0)
    older = msgspec.msgpack.decode(session.ledger.dump())
    for group in older["groups"]:
        assert group.pop("columns") is None
    again = AggregatorSession(Grouping({}), origin=ORIGIN, snapshot=msgspec.msgpack.encode(older))
    assert again.ledger.columns(KEY) is None
    assert again.ledger[KEY].version == 1


@pytest.mark.parametrize(
    ("changes", "reason", "fault"),
    [
        ({"count": 0}, "implausible", "implausible"),
        ({"sum_squares": 0.0}, "implausible", "implausible"),
        ({"gram": pack_symmetric(-np.eye(2))}, "implausible", "implausible"),
        ({"gram": pack_symmetric(np.eye(2) * 300.0)}, "implausible", "implausible"),
        ({"gram": pack_symmetric(np.array([[1.0, 2.0], [2.0, 1.0]]))}, "implausible", "implausible"),
        ({"gram": pack_symmetric(np.zeros((2, 2)))}, "implausible", "implausible"),
        ({"moment": buffer_of(np.full(2, 1.0))}, "implausible", "implausible"),
        ({"gram": pack_symmetric(np.full((2, 2), np.nan))}, "not_finite", "not_finite"),
        ({"moment": memoryview(b"1234")}, "malformed", "tensor"),
        ({"gram": memoryview(b"")}, "malformed", "tensor"),
    ],
)
def test_what_no_honest_rows_give_is_refused_and_counted(
    changes: dict[str, Any], reason: str, fault: Any
) -> None:
    session = fresh()
    (command,) = session.handle(ev.UploadArrived(upload(**changes)), 0.0)
    assert isinstance(command, do.PublishAck)
    assert isinstance(command.message, UploadRefusal)
    assert (command.message.reason, session.tally.faults.of(fault)) == (reason, 1)
    assert len(session.ledger) == 0
    session.check()


def test_bounds_refuse_for_good_but_never_what_is_merged() -> None:
    session = fresh(groups=1, installs=1, device_rows=2)
    session.handle(ev.UploadArrived(upload(rows=2)), 0.0)
    session.handle(ev.SnapshotSaved(), 0.0)
    assert session.handle(ev.UploadArrived(upload("cam-2")), 0.0) == [
        refusal("overloaded", "the group remembers 1 installs already", "cam-2")
    ]
    assert session.handle(ev.UploadArrived(upload(boot=2)), 0.0)[0].message.reason == "overloaded"  # type: ignore[union-attr]
    other = upload(schema="9" * 16)
    assert session.handle(ev.UploadArrived(other), 0.0) == [
        refusal("overloaded", "1 groups are as many as are held here")
    ]
    assert session.handle(ev.UploadArrived(upload(rows=2)), 0.0) == [ack()]
    session.check()


def test_unknown_types_are_refused_when_configured_so_and_broken_uploads_by_their_number() -> None:
    session = fresh(Grouping({"pis": ("pi5",)}, accept_unknown_types=False))
    assert session.handle(ev.UploadArrived(upload()), 0.0) == [
        refusal("unknown_type", "no group takes devices of type pi4")
    ]
    broken = ev.UploadBroken("cam-1", "pi4", "wrong_sender", "not you", NUMBER)
    assert session.handle(broken, 0.0) == [refusal("wrong_sender", "not you")]
    broken = ev.UploadBroken("cam-1", "pi4", "version", "newer", NUMBER)
    assert session.handle(broken, 0.0) == [refusal("malformed", "newer")]
    assert session.handle(ev.UploadBroken("cam-1", "pi4", "malformed", "noise"), 0.0) == []
    assert session.tally.unanswerable == 1
    session.check()


def test_types_of_one_group_share_a_sum_and_both_hear_of_it() -> None:
    session = fresh(Grouping({"pis": ("pi4", "pi5")}))
    session.handle(ev.LinkUp(), 0.0)
    session.handle(ev.UploadArrived(upload("cam-1")), 0.0)
    session.handle(ev.UploadArrived(upload("cam-2", type="pi5")), 0.0)
    session.handle(ev.UploadArrived(upload("cam-3", type="jetson")), 0.0)
    assert [key.group for key in session.ledger] == ["pis", "jetson"]
    commands = session.handle(ev.SnapshotSaved(), 0.0)
    assert [c.types for c in commands if isinstance(c, do.PublishGroup)] == [("pi4", "pi5")]


def test_after_a_reconnect_and_after_a_restart_every_group_is_sent_again() -> None:
    session = fresh()
    session.handle(ev.UploadArrived(upload()), 0.0)
    session.handle(ev.SnapshotSaved(), 0.0)
    again = AggregatorSession(Grouping({}), origin="4" * 16, snapshot=session.ledger.dump())
    assert again.ledger.origin == ORIGIN
    expected = [do.PublishGroup(KEY, ("pi4",), session.ledger.parameters(KEY))]
    for each in (session, again):
        assert each.handle(ev.LinkUp(), 1.0) == expected
        each.handle(ev.LinkDown(), 1.0)
        assert each.handle(ev.BroadcastEnded(KEY, succeeded=False), 1.0) == []
        assert each.next_deadline() is None
        assert each.handle(ev.LinkUp(), 2.0) == expected
        each.check()
    assert again.handle(ev.UploadArrived(upload()), 2.0) == [ack()]
    metrics = again.handle(ev.DeadlinePassed(), 7.0)
    assert isinstance(metrics[0], do.PublishMetrics)
    assert (metrics[0].values["groups"], metrics[0].values["duplicates"]) == (1, 1)


def test_a_failed_broadcast_is_repeated_after_a_while() -> None:
    session = fresh()
    session.handle(ev.LinkUp(), 0.0)
    session.handle(ev.UploadArrived(upload()), 0.0)
    session.handle(ev.SnapshotSaved(), 0.0)
    assert session.handle(ev.BroadcastEnded(KEY, succeeded=False), 0.5) == []
    assert session.next_deadline() == 1.5
    assert len(session.handle(ev.DeadlinePassed(), 1.5)) == 1


def test_stopping_makes_durable_what_is_merged_and_takes_nothing_new() -> None:
    session = fresh()
    session.handle(ev.UploadArrived(upload()), 0.0)
    assert session.handle(ev.StopRequested(), 0.0) == [do.AnnounceState("disconnected", "")]
    assert session.handle(ev.UploadArrived(upload("cam-2")), 0.0) == []
    assert session.handle(ev.SnapshotSaved(), 0.1) == [ack(), do.Stop()]
    assert session.next_deadline() is None
    assert session.handle(ev.DeadlinePassed(), 9.0) == []
    session.check()


def test_a_snapshot_that_cannot_be_written_does_not_hold_up_the_stop() -> None:
    session = fresh()
    session.handle(ev.UploadArrived(upload()), 0.0)
    session.handle(ev.StopRequested(), 0.0)
    assert session.handle(ev.DeadlinePassed(), 5.0) == [do.Stop()]
    twice = fresh()
    twice.handle(ev.UploadArrived(upload()), 0.0)
    twice.handle(ev.StopRequested(), 0.0)
    assert twice.handle(ev.StopRequested(), 0.0) == [do.Stop()]


@pytest.mark.parametrize("damage", ["noise", "format", "size", "gram"])
def test_a_snapshot_of_something_else_is_one_sentence(damage: str) -> None:
    session = fresh()
    session.handle(ev.UploadArrived(upload()), 0.0)
    record = msgspec.msgpack.decode(session.ledger.dump())
    if damage == "format":
        record["format"] = 2
    elif damage == "size":
        record["groups"][0]["gram"] = b"12345678"
    elif damage == "gram":
        record["groups"][0]["gram"] = np.array([[1.0, 9.0], [9.0, 1.0]]).tobytes()
    payload = b"\xc1" if damage == "noise" else msgspec.msgpack.encode(record)
    with pytest.raises(ConfigurationError, match="snapshot"):
        AggregatorSession(Grouping({}), origin=ORIGIN, snapshot=payload)


@pytest.mark.parametrize(
    "groups", [{"a": ("pi4",), "b": ("pi4",)}, {"a": ()}, {"A": ("pi4",)}, {"a": ("PI",)}], ids=str
)
def test_groups_that_cannot_work_are_one_sentence(groups: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(ConfigurationError):
        Grouping(groups)


def test_a_type_called_like_a_group_it_is_not_in_is_refused() -> None:
    grouping = Grouping({"pis": ("pi4",)})
    assert (grouping.group_of("pis"), grouping.group_of("pi4"), grouping.group_of("tx2")) == (
        None,
        "pis",
        "tx2",
    )
    assert Grouping({}, accept_unknown_types=False).types_of("tx2") == ()


def test_limits_whose_snapshot_could_not_be_read_back_are_one_sentence() -> None:
    with pytest.raises(ConfigurationError, match="snapshot"):
        Limits(groups=0)
    with pytest.raises(ConfigurationError, match="snapshot"):
        Limits(installs=10_000_000)


class AggregatorMachine(RuleBasedStateMachine):
    """Loss, doubles, reordering, failed snapshots and crashes: the durable sum is the acknowledged sum.

    Devices are stop-and-wait: each repeats one upload until it hears of it. The network holds uploads and
    acknowledgements and may lose, double or delay any of them.
    """

    @initialize()
    def start(self) -> None:
        self.session = fresh()
        self.now = 0.0
        self.disk: bytes | None = None
        self.saving: bytes | None = None
        self.seq = {f"cam-{n}": 1 for n in range(3)}
        self.network: list[StatisticsUpload] = []
        self.acks: list[do.PublishAck] = []
        self.acknowledged: dict[tuple[str, int], int] = {}

    def delta(self, device: str, seq: int) -> StatisticsUpload:
        x = np.array([1.0 + int(device[-1]), float(seq % 7)])
        return upload(
            device,
            seq=seq,
            gram=pack_symmetric(np.outer(x, x)),
            moment=buffer_of(x * 0.5),
            count=1,
            sum_squares=0.25,
        )

    def post(self, event: ev.Event) -> None:
        for command in self.session.handle(event, self.now):
            match command:
                case do.SaveSnapshot():
                    assert self.saving is None, "two snapshots at once"
                    self.saving = command.payload
                case do.PublishAck():
                    message = command.message
                    assert isinstance(message, UploadAck)
                    self.must_be_on_disk(message.device, message.seq, message.version)
                    self.acks.append(command)
                case do.PublishGroup():
                    assert self.disk is not None
                    durable = AggregatorSession(Grouping({}), origin=ORIGIN, snapshot=self.disk)
                    assert command.parameters.version <= durable.ledger[KEY].version
                case _:
                    pass
        self.session.check()

    def must_be_on_disk(self, device: str, seq: int, version: int) -> None:
        assert self.disk is not None, "acknowledged before anything was saved"
        durable = AggregatorSession(Grouping({}), origin=ORIGIN, snapshot=self.disk)
        contained = durable.ledger[KEY].version_with(device, INSTALL, 1, seq)
        assert contained is not None
        assert version <= durable.ledger[KEY].version

    @rule(device=st.integers(0, 2))
    def send(self, device: int) -> None:
        name = f"cam-{device}"
        self.network.append(self.delta(name, self.seq[name]))

    @rule(data=st.data(), keep=st.booleans())
    def deliver(self, data: st.DataObject, keep: bool) -> None:
        if self.network:
            index = data.draw(st.integers(0, len(self.network) - 1))
            message = self.network[index] if keep else self.network.pop(index)
            self.post(ev.UploadArrived(message))

    @rule(data=st.data(), lose=st.booleans())
    def hear(self, data: st.DataObject, lose: bool) -> None:
        if self.acks:
            message = self.acks.pop(data.draw(st.integers(0, len(self.acks) - 1))).message
            if not lose and isinstance(message, UploadAck) and message.seq == self.seq[message.device]:
                self.acknowledged[message.device, message.seq] = message.version
                self.seq[message.device] += 1

    @rule(works=st.booleans())
    def disk_ends(self, works: bool) -> None:
        if self.saving is not None:
            payload, self.saving = self.saving, None
            if works:
                self.disk = payload
            self.post(ev.SnapshotSaved() if works else ev.SnapshotFailed("full"))

    @rule(durable=st.booleans())
    def crash(self, durable: bool) -> None:
        """Die, also between the rename and the news of it, and start again from what is on the disk."""
        if durable and self.saving is not None:
            self.disk = self.saving
        self.saving = None
        self.session = AggregatorSession(Grouping({}), origin=ORIGIN, snapshot=self.disk)

    @rule(by_s=st.sampled_from([0.01, 0.6, 40.0]))
    def wait(self, by_s: float) -> None:
        self.now += by_s
        self.post(ev.DeadlinePassed())
        deadline = self.session.next_deadline()
        assert deadline is None or deadline > self.now, "the shell would spin"

    @rule(up=st.booleans())
    def link(self, up: bool) -> None:
        self.post(ev.LinkUp() if up else ev.LinkDown())

    @invariant()
    def the_durable_sum_holds_what_was_acknowledged_once(self) -> None:
        if not hasattr(self, "session") or self.disk is None:
            return
        group = AggregatorSession(Grouping({}), origin=ORIGIN, snapshot=self.disk).ledger[KEY]
        expected, moment, count = 0.1 * np.eye(2), np.zeros(2), 0
        for device, next_seq in self.seq.items():
            for seq in range(1, next_seq + 1):
                if group.version_with(device, INSTALL, 1, seq) is None:
                    assert (device, seq) not in self.acknowledged, "acknowledged and forgotten"
                    continue
                sent = self.delta(device, seq)
                expected += unpack_symmetric(sent.gram, 2)
                moment += np.frombuffer(sent.moment)
                count += 1
        np.testing.assert_allclose(group.statistics.gram, expected, rtol=1e-12)
        np.testing.assert_allclose(group.statistics.moment, moment, rtol=1e-12)
        assert group.statistics.count == count


TestAggregatorMachine = AggregatorMachine.TestCase
TestAggregatorMachine.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)


def test_a_sum_that_would_overflow_is_refused_and_the_group_stays_as_it_was() -> None:
    huge = np.diag([1.5e308, 0.0])
    limits = Limits(upload=Bounds(row_norm_squared=np.inf))
    session = AggregatorSession(Grouping({}), origin=ORIGIN, limits=limits)
    with np.errstate(over="ignore"):
        for seq in (1, 2):
            message = upload(seq=seq, gram=pack_symmetric(huge), moment=buffer_of(np.zeros(2)))
            commands = session.handle(ev.UploadArrived(message), 0.0)
    assert [type(command) for command in commands] == [do.PublishAck]
    assert session.tally.refused["implausible"] == session.tally.faults.of("implausible") == 1
    assert session.ledger[KEY].version == 1
    session.check()
