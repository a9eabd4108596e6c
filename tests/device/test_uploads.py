"""Statistics up and the group's down, each step of a session's own."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from msgspec import UNSET
from msgspec.structs import replace as replace_struct

from bandits.federation import Member
from bandits.fedlinucb import FedLinUCBDW
from bandits.settings import Settings
from bus import messages as m
from bus.errors import ConfigurationError
from bus.statistics import DEFAULT_BOUNDS, pack_symmetric, require_plausible
from bus.tensors import buffer_of
from device import commands as c
from device import events as e
from device.limits import Limits
from device.plan import Identity, Plan
from device.policies import build_policy
from device.saver import Saver
from device.session import DeviceSession
from device.state_bytes import decode_state
from device.upload import Uploads
from tests.support.device_parts import (
    INSTALL,
    LIMITS,
    LOCAL_HEAD,
    MODEL,
    ORIGIN,
    PLAN,
    REMOTE_HEAD,
    SCHEMA,
    edge_state,
    session,
)

ROWS = (e.ExitRow((0.5, 0.0, 0.0, 0.0), 0.1),) * 8
OTHER = "f" * 16


def sent(commands: list[c.Command]) -> list[m.StatisticsUpload]:
    return [command.upload for command in commands if isinstance(command, c.SendUpload)]


def notes(commands: list[c.Command]) -> list[str]:
    return [command.event for command in commands if isinstance(command, c.Note)]


def in_flight(limits: Limits = LIMITS) -> DeviceSession:
    """A session whose early-exit rows were sent at time 0, as upload 1 of boot 1."""
    made = session("fedlinucb_dw", limits=limits, warm_start=8)
    assert made.handle(e.Started(), 0.0)[0] == c.RunWarmStart(8)
    made.handle(e.LinkCameUp("control"), 0.0)
    made.handle(e.SnapshotSaved(1), 0.0)
    assert sent(made.handle(e.WarmStartFinished(ROWS), 0.0)) == []
    (upload,) = sent(made.handle(e.SnapshotSaved(2), 0.0))
    assert (upload.boot, upload.seq, upload.phase, upload.count) == (1, 1, "offline", 8)
    assert (upload.device, upload.type, upload.install) == ("cam-1", "pi4", INSTALL)
    assert (upload.model, upload.schema) == (MODEL, SCHEMA)
    return made


def ack(**changes: Any) -> e.AckArrived:
    fields: dict[str, Any] = {
        "device": "cam-1",
        "install": INSTALL,
        "boot": 1,
        "seq": 1,
        "model": MODEL,
        "origin": ORIGIN,
        "version": 3,
        **changes,
    }
    return e.AckArrived(m.UploadAck(**fields))


def refusal(reason: m.Refusal, **changes: Any) -> e.RefusalArrived:
    fields: dict[str, Any] = {"device": "cam-1", "install": INSTALL, "boot": 1, "seq": 1, **changes}
    return e.RefusalArrived(m.UploadRefusal(reason=reason, **fields))


def group(version: int, **changes: Any) -> e.GroupBroadcast:
    fields: dict[str, Any] = {
        "group": "pi4",
        "model": MODEL,
        "schema": SCHEMA,
        "origin": ORIGIN,
        "version": version,
        "dimension": 4,
        "gram": pack_symmetric(2.0 * np.eye(4)),
        "moment": buffer_of(np.full(4, 0.5)),
        "count": 20,
        "sum_squares": 5.0,
        "members": 2,
        **changes,
    }
    return e.GroupBroadcast(m.GroupParameters(**fields))


def test_an_upload_is_repeated_with_growing_waits_until_it_is_acknowledged() -> None:
    made = in_flight(replace(LIMITS, resend_s=1.0, resend_most_s=4.0))
    times = []
    for tenth in range(1, 200):
        commands = made.handle(e.DeadlinePassed(), tenth / 10.0)
        times += [tenth / 10.0 for upload in sent(commands) if upload.seq == 1]
    assert times == [1.0, 3.0, 7.0, 11.0, 15.0, 19.0]
    assert notes(made.handle(ack(), 20.0)) == ["upload_merged"]
    assert sent(made.handle(e.DeadlinePassed(), 30.0)) == []
    assert notes(made.handle(ack(), 30.0)) == []  # doubled
    metrics = made.metrics()
    assert (metrics["uploads_sent"], metrics["uploads_merged"], metrics["uploads_repeated"]) == (1, 1, 6)
    made.check()


def test_nothing_is_repeated_without_a_link_and_at_once_when_it_is_back() -> None:
    made = in_flight()
    made.handle(e.LinkWentDown("control"), 0.5)
    assert sent(made.handle(e.DeadlinePassed(), 5.0)) == []
    (again,) = sent(made.handle(e.LinkCameUp("control"), 6.0))
    assert (again.boot, again.seq) == (1, 1)
    assert made.metrics()["reconnects"] == 1


def test_what_the_broker_says_of_an_upload_changes_nothing() -> None:
    made = in_flight()
    assert made.handle(e.UploadSent(1, 1), 0.1) == []
    assert notes(made.handle(e.UploadSendFailed(1, 1, "the link failed"), 0.1)) == ["upload_not_sent"]
    assert sent(made.handle(e.DeadlinePassed(), 1.0)) != []


def test_answers_meant_for_others_answer_nothing() -> None:
    made = in_flight()
    for event, fault in (
        (ack(device="cam-2"), "wrong_sender"),
        (ack(model=OTHER), "foreign"),
        (refusal("malformed", device="cam-2"), "wrong_sender"),
    ):
        made.handle(event, 0.1)
        assert made.metrics()[f"fault_{fault}"] >= 1
    for event in (ack(install=OTHER), ack(seq=2), ack(boot=2)):
        assert made.handle(event, 0.1) == []
    for stray in (refusal("malformed", install=OTHER), refusal("malformed", seq=9)):
        assert made.handle(stray, 0.1) == []
    assert made.metrics()["uploads_merged"] == made.metrics()["uploads_refused"] == 0
    made.handle(ack(), 0.2)
    assert made.handle(refusal("malformed"), 0.3) == []  # late: nothing is in flight
    assert made.metrics()["uploads_merged"] == 1


def test_a_device_that_is_parked_says_so_once_and_adopts_nothing_until_it_is_back() -> None:
    one = in_flight()
    assert notes(one.handle(ack(parked=True), 0.2)) == ["upload_merged", "parked_by_the_group"]
    assert "group_adopted" not in notes(one.handle(group(9), 0.3))
    assert one.handle(ack(parked=True), 0.4) == []


def test_uploads_say_which_columns_all_devices_of_a_type_have_in_common() -> None:
    assert PLAN.common == "1000"
    measured = PLAN.with_measured_link()
    assert (measured.common, measured.schema != PLAN.schema) == ("1111", True)


def test_an_overloaded_aggregator_is_given_time_and_then_the_upload_is_set_aside() -> None:
    made = in_flight(replace(LIMITS, resend_most_s=10.0, overloaded_tries=3))
    now = 0.5
    for _ in range(2):
        assert notes(made.handle(refusal("overloaded"), now)) == ["aggregator_overloaded"]
        # A new connection is no reason to hurry an aggregator that is overloaded.
        made.handle(e.LinkWentDown("control"), now)
        assert sent(made.handle(e.LinkCameUp("control"), now)) == []
        assert sent(made.handle(e.DeadlinePassed(), now + 9.9)) == []
        now += 10.0
        (upload,) = sent(made.handle(e.DeadlinePassed(), now))
        assert upload.seq == 1
    assert notes(made.handle(refusal("overloaded"), now)) == ["upload_refused_and_set_aside"]
    assert made.metrics()["uploads_refused"] == 1
    made.check()


def test_the_groups_parameters_are_adopted_once_and_an_older_version_never() -> None:
    made = session("fedlinucb_dw")
    made.handle(e.Started(), 0.0)
    (first,) = (note for note in made.handle(group(5), 0.0) if isinstance(note, c.Note))
    assert made.handle(group(5), 0.1) == made.handle(group(4), 0.1) == []
    (second,) = (note for note in made.handle(group(6), 0.2) if isinstance(note, c.Note))
    assert (first.level, first.event, second.level, second.event) == (
        *("info", "group_adopted"),
        *("debug", "group_adopted"),
    )
    assert made.metrics()["groups_adopted"] == 2


def test_a_broadcast_during_an_upload_is_adopted_when_the_answer_says_what_it_contains() -> None:
    made = in_flight()
    assert notes(made.handle(group(3), 0.1)) == []
    main = made._policies[0]
    assert isinstance(main, FedLinUCBDW)
    assert main.member.version == 0
    made.handle(ack(version=3), 0.2)
    assert main.member.version == 3
    # The group of version 3 contains the upload: it is not counted twice.
    assert main.member.view().count == 20


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"model": OTHER}, "foreign"),
        ({"schema": OTHER}, "foreign"),
        ({"dimension": 3}, "tensor"),
        ({"gram": memoryview(b"1234")}, "tensor"),
        ({"moment": buffer_of(np.full(4, np.nan))}, "not_finite"),
        ({"gram": pack_symmetric(-np.eye(4))}, "implausible"),
        ({"moment": buffer_of(np.full(4, 100.0))}, "implausible"),
        ({"gram": pack_symmetric(np.zeros((4, 4))), "moment": buffer_of(np.zeros(4))}, "implausible"),
    ],
)
def test_parameters_that_no_group_of_ours_has_are_counted_and_left(
    change: dict[str, Any], fault: str
) -> None:
    made = session("fedlinucb_dw")
    made.handle(e.Started(), 0.0)
    assert notes(made.handle(group(5, **change), 0.0)) == ["bad_message"]
    assert made.metrics()[f"fault_{fault}"] == 1
    assert made.metrics()["groups_adopted"] == 0


def test_a_policy_that_shares_nothing_hears_nothing() -> None:
    made = session("device_only")
    made.handle(e.Started(), 0.0)
    for event in (ack(), refusal("malformed"), group(5), e.UploadSent(1, 1)):
        assert made.handle(event, 0.1) == []
    assert made.handle(e.WarmStartFinished(ROWS), 0.1) == []
    assert "uploads_sent" not in made.metrics()


def test_a_device_without_early_exits_says_so_and_goes_on() -> None:
    made = session("fedlinucb_dw", warm_start=8)
    made.handle(e.Started(), 0.0)
    commands = made.handle(e.WarmStartFinished((), reason="no memory"), 0.1)
    assert commands == [c.Note("warning", "no_warm_start", (("reason", "no memory"),))]
    assert made.next_deadline() == 0.1 + LIMITS.wait_edge_s


def test_a_restart_repeats_what_was_in_flight_under_its_own_number_and_joins_no_second_time() -> None:
    first = in_flight()
    identity = Identity("cam-1", "pi4", INSTALL, 2)
    second = DeviceSession(
        identity,
        PLAN,
        (build_policy("fedlinucb_dw", PLAN, Settings(), boot=2),),
        draw=lambda: 0.0,
        limits=LIMITS,
        warm_start=8,
        restored=first.dump(),
    )
    (save,) = second.handle(e.Started(), 0.0)
    assert isinstance(save, c.SaveSnapshot)
    assert decode_state(save.payload)["boot"] == 2
    (upload,) = sent(second.handle(e.LinkCameUp("control"), 0.1))
    assert (upload.boot, upload.seq, upload.count) == (1, 1, 8)
    assert notes(second.handle(ack(), 0.2)) == ["upload_merged"]
    second.check()


def test_a_state_of_other_settings_is_refused_and_of_other_policies_kept() -> None:
    kept = session("two_arm", restored={"policies": {"ans": {"anything": 1}}}).dump()
    assert kept["policies"]["ans"] == {"anything": 1}
    assert set(kept["policies"]) == {"ans", "two_arm"}
    strange: tuple[dict[str, Any], ...] = ({"policies": {"two_arm": {}}}, {"policies": 3}, {})
    for state in strange:
        with pytest.raises(ConfigurationError, match="another --state-dir"):
            session("two_arm", restored=state)


def test_told_to_stop_it_finishes_the_frame_hands_in_the_rest_and_only_then_ends() -> None:
    made = session("fedlinucb_dw", "device_only")
    made.handle(e.Started(), 0.0)
    made.handle(e.SnapshotSaved(1), 0.0)
    made.handle(e.LinkCameUp("control"), 0.0)
    made.handle(e.DeadlinePassed(), 1.0)
    (head,) = made.handle(e.FrameCaptured("f0"), 1.0)
    assert isinstance(head, c.RunHead)
    commands = made.handle(e.StopRequested("told to stop"), 1.1)
    assert commands[0] == c.Note("info", "stopping", (("reason", "told to stop"),))
    assert c.RejectFrame(0, ("device_only",), "stopping") in commands
    assert made.handle(e.FrameCaptured("f1"), 1.1) == [
        c.RejectFrame(1, ("device_only", "fedlinucb_dw"), "stopping")
    ]
    commands = made.handle(e.HeadFinished(head.turn, LOCAL_HEAD), 1.2)
    assert c.Stop() not in commands
    (save,) = (command for command in commands if isinstance(command, c.SaveSnapshot))
    commands = made.handle(e.SnapshotSaved(save.number), 1.3)
    (upload,) = sent(commands)
    assert upload.count >= 1
    assert made.next_deadline() is not None
    commands = made.handle(ack(boot=upload.boot, seq=upload.seq), 1.4)
    (last,) = (command for command in commands if isinstance(command, c.SaveSnapshot))
    assert made.handle(e.SnapshotSaved(last.number), 1.5) == [c.Stop()]
    assert made.phase == "stopped"
    assert made.handle(e.SnapshotSaved(last.number), 1.6) == []
    made.check()


def test_an_aggregator_that_never_answers_holds_the_end_up_so_long_and_no_longer() -> None:
    made = in_flight(replace(LIMITS, flush_s=2.0))
    made.handle(e.StopRequested("told to stop"), 0.5)
    assert made.phase == "flushing"
    assert c.Stop() not in made.handle(e.DeadlinePassed(), 2.4)
    assert c.Stop() in made.handle(e.DeadlinePassed(), 2.5)


def test_asked_twice_it_ends_at_once_and_rejects_what_is_in_play() -> None:
    made = session("edge_only_jpeg")
    made.handle(e.Started(), 0.0)
    made.handle(e.LinkCameUp("data"), 0.0)
    made.handle(e.EdgeAnnounced(edge_state()), 0.0)
    made.handle(e.FrameCaptured("f0"), 0.1)
    made.handle(e.FrameCaptured("f1"), 0.2)
    made.handle(e.HeadFinished(1, REMOTE_HEAD), 0.2)
    first = made.handle(e.StopRequested("once"), 0.3)
    assert c.RejectFrame(1, ("edge_only_jpeg",), "stopping") in first
    assert made.handle(e.StopRequested("twice"), 0.4) == [
        c.RejectFrame(0, ("edge_only_jpeg",), "stopping"),
        c.Stop(),
    ]
    made.check()


def test_a_frame_of_minutes_is_a_row_that_the_aggregator_takes() -> None:
    made = session("fedlinucb_dw")
    made.handle(e.Started(), 0.0)
    made.handle(e.SnapshotSaved(1), 0.0)
    made.handle(e.DeadlinePassed(), 1.0)
    made.handle(e.FrameCaptured("f0"), 1.0)
    made.handle(e.HeadFinished(1, replace(LOCAL_HEAD, head_ms=300_000.0)), 301.0)
    assert made.uploads is not None
    member = made.uploads._member
    rows = member.local if member.in_flight is None else member.in_flight.statistics
    assert rows.count == 1
    require_plausible(rows.gram, rows.moment, rows.count, rows.sum_squares, DEFAULT_BOUNDS)


@pytest.mark.parametrize("error", ["", "the camera broke off"])
def test_the_end_of_the_source_saves_what_was_learnt_and_says_what_was_wrong(error: str) -> None:
    made = session("device_only")
    made.handle(e.Started(), 0.0)
    made.handle(e.SnapshotSaved(1), 0.0)
    made.handle(e.DeadlinePassed(), 1.0)
    *said, save = made.handle(e.SourceEnded(error), 1.1)
    assert said == ([] if error else [c.Note("info", "source_ended", (("frames", 0),))])
    assert isinstance(save, c.SaveSnapshot)
    assert made.handle(e.SnapshotSaved(save.number), 1.2) == [c.Stop(error)]


def test_frames_come_at_their_period_whether_the_last_is_answered_or_not() -> None:
    made = session("device_only", limits=replace(LIMITS, frame_period_s=0.5))
    made.handle(e.Started(), 0.0)
    assert c.CaptureNext(1.0) in made.handle(e.DeadlinePassed(), 1.0)
    assert made.handle(e.FrameCaptured("f0"), 1.0) == [c.RunHead(1, "f0", 2), c.CaptureNext(1.5)]
    assert made.handle(e.FrameCaptured("f1"), 1.5) == [c.CaptureNext(2.0)]
    late = made.handle(e.FrameCaptured("f2"), 2.0)
    assert late == [c.RejectFrame(1, ("device_only",), "dropped"), c.CaptureNext(2.5)]
    made.check()


def test_a_type_that_the_aggregator_never_takes_ends_it_with_a_sentence() -> None:
    made = in_flight()
    commands = made.handle(refusal("unknown_type"), 0.1)
    assert notes(commands) == ["upload_refused_and_set_aside"]
    (stop,) = (command for command in commands if isinstance(command, c.Stop))
    assert "'pi4'" in stop.error
    assert "--type" in stop.error


COLUMNS = m.Columns(names=("front.conv_macs", "back.conv_macs", "link.bits", "offload"), input_elements=12)


class _Sending:
    """A device's uploads with nothing around them but a disk that never fails."""

    def __init__(self, plan: Plan) -> None:
        self.member, self.saver = Member(4), Saver(bytes, 1.0)
        self.uploads = Uploads(Identity("cam-1", "pi4", INSTALL, 1), plan, self.member, self.saver, LIMITS)
        self.uploads.link_came_up()
        self.uploads.drain()

    def one(self, now: float) -> m.StatisticsUpload:
        """Learn a row and send it up."""
        self.member.observe(PLAN.contexts[:1], np.array([0.1]))
        self.uploads.learned(now)
        assert notes(self.uploads.advance(now)) == ["upload_taken"]
        self.saver.advance(now)
        self.saver.saved(self.saver.taken)
        (upload,) = sent(self.uploads.advance(now))
        return upload


def test_what_the_columns_mean_is_said_once_to_each_aggregator() -> None:
    sending = _Sending(replace(PLAN, columns=COLUMNS))
    said = []
    for seq, origin in enumerate([ORIGIN, ORIGIN, OTHER, OTHER, OTHER], start=1):
        upload = sending.one(float(seq))
        (again,) = sent(sending.uploads.advance(seq + LIMITS.resend_s))
        assert again == upload
        said.append(upload.columns)
        answer = ack(boot=upload.boot, seq=upload.seq, origin=origin, version=seq).ack
        sending.uploads.acknowledged(answer, seq + LIMITS.resend_s)
    # The third goes to an aggregator that has lost its state, which only its answer tells.
    assert said == [COLUMNS, UNSET, UNSET, COLUMNS, UNSET]


def test_a_measured_link_is_said_and_a_plan_without_columns_says_nothing() -> None:
    measured = replace(PLAN, columns=COLUMNS).with_measured_link()
    assert _Sending(measured).one(0.0).columns == replace_struct(COLUMNS, link="measured")
    assert _Sending(PLAN.with_measured_link()).one(0.0).columns is UNSET
