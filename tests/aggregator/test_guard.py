"""The guard in the aggregator: who is parked, who hears of it, and what survives a restart."""

from typing import Any

import msgspec
import numpy as np
import pytest

from aggregator import commands as do
from aggregator import events as ev
from aggregator.keys import Grouping, GroupKey
from aggregator.ledger import Limits
from aggregator.session import LONGEST_DETAIL, AggregatorSession
from aggregator.settings import AggregatorSettings
from bandits.federation import GuardSettings
from bus.address import BrokerAddress
from bus.messages import GroupParameters, StatisticsUpload, UploadAck, UploadRefusal
from bus.statistics import unpack_symmetric
from tests.support.samples import MODEL, SCHEMA
from tests.support.uploads import upload

ORIGIN = "3" * 16
KEY = GroupKey("pi4", MODEL, SCHEMA, 2)
GUARDED = Limits(guard=GuardSettings())


def fresh(limits: Limits = GUARDED, snapshot: bytes | None = None) -> AggregatorSession:
    return AggregatorSession(Grouping({}), origin=ORIGIN, limits=limits, snapshot=snapshot)


def send(session: AggregatorSession, message: StatisticsUpload) -> list[do.Command]:
    """Let an upload arrive and the disk keep up; return all that was said."""
    said = session.handle(ev.UploadArrived(message), 0.0)
    if any(isinstance(command, do.SaveSnapshot) for command in said):
        said += session.handle(ev.SnapshotSaved(), 0.0)
    session.check()
    return said


def answer(said: list[do.Command]) -> UploadAck | UploadRefusal:
    (ack,) = (command.message for command in said if isinstance(command, do.PublishAck))
    return ack


def with_a_liar(rounds: int = 2, limits: Limits = GUARDED) -> tuple[AggregatorSession, list[do.Command]]:
    session = fresh(limits)
    said = [
        command
        for seq in range(1, rounds + 1)
        for device in ("cam-1", "cam-2", "cam-3", "cam-4")
        for command in send(session, upload(device, seq, 3.0 if device == "cam-4" else 1.0))
    ]
    return session, said


def test_a_device_with_other_costs_is_parked_and_everybody_who_should_hears_of_it() -> None:
    session, said = with_a_liar()
    (report,) = (command for command in said if isinstance(command, do.ReportVerdict))
    assert (report.key, report.device, report.parked) == (KEY, "cam-4", True)
    assert report.sentence.startswith("cam-4 is parked: its costs differ by ")
    assert session.announced == do.AnnounceState("ready", "parked: cam-4")
    acks = [command.message for command in said if isinstance(command, do.PublishAck)]
    assert [(ack.device, ack.parked) for ack in acks if isinstance(ack, UploadAck)][-4:] == [
        ("cam-1", False),
        ("cam-2", False),
        ("cam-3", False),
        ("cam-4", True),
    ]
    session.handle(ev.LinkUp(), 0.0)
    metrics = session.handle(ev.DeadlinePassed(), 9.0)
    (numbers,) = (command.values for command in metrics if isinstance(command, do.PublishMetrics))
    assert (numbers["parked"], numbers["parkings"], numbers["returns"], numbers["merged"]) == (1, 1, 0, 8)
    again = answer(send(session, upload("cam-4", 2, 3.0)))
    assert isinstance(again, UploadAck)
    assert again.parked  # a repetition hears it too


def parameters(session: AggregatorSession) -> GroupParameters:
    return session.ledger.parameters(KEY)


def test_the_group_is_lambda_and_the_rows_of_all_who_are_not_parked() -> None:
    session, _ = with_a_liar()
    honest = [upload(device, seq) for device in ("cam-1", "cam-2", "cam-3") for seq in (1, 2)]
    expected = 0.1 * np.eye(2) + sum(unpack_symmetric(one.gram, 2) for one in honest)
    group = parameters(session)
    np.testing.assert_allclose(unpack_symmetric(group.gram, 2), expected, rtol=1e-12)
    assert (group.members, group.count) == (3, 120)


def test_the_parked_come_back_when_they_agree_and_it_is_said() -> None:
    session, _ = with_a_liar()
    said: list[do.Command] = []
    for seq in range(3, 60):
        said += send(session, upload("cam-4", seq))
        if session.ledger.parked == []:
            break
    reports = [command for command in said if isinstance(command, do.ReportVerdict)]
    assert [(one.device, one.parked) for one in reports] == [("cam-4", False)]
    assert session.announced == do.AnnounceState("ready", "")
    last = [command.message for command in said if isinstance(command, do.PublishAck)][-1]
    assert isinstance(last, UploadAck)
    assert not last.parked
    assert parameters(session).version == last.version
    assert session.tally.returns == 1


def test_the_same_statistics_under_another_number_are_refused() -> None:
    session = fresh()
    send(session, upload("cam-1", 1))
    refused = answer(send(session, msgspec.structs.replace(upload("cam-1", 1), seq=2)))
    assert isinstance(refused, UploadRefusal)
    assert (refused.reason, session.tally.faults.of("implausible")) == ("implausible", 1)
    assert "under another number" in refused.detail


def test_a_wrong_number_of_common_columns_is_malformed() -> None:
    session = fresh()
    refused = answer(send(session, upload("cam-1", 1, common="111")))
    assert isinstance(refused, UploadRefusal)
    assert refused.reason == "malformed"


def test_where_half_differ_the_state_says_so_within_its_length() -> None:
    session = fresh()
    for seq in (1, 2, 3):
        for device, scale in (("cam-1", 1.0), ("cam-2", 4.0), ("cam-3", 1.0), ("cam-4", 4.0)):
            send(session, upload(device, seq, scale))
    assert "group pi4: half of the 4 devices differ" in session.announced.detail
    assert len(session.announced.detail) <= LONGEST_DETAIL


def test_a_restart_remembers_the_parked_and_an_old_snapshot_still_loads() -> None:
    session, _ = with_a_liar()
    again = fresh(snapshot=session.ledger.dump())
    assert again.ledger.dump() == session.ledger.dump()
    assert again.ledger.parked == ["cam-4"]
    old = msgspec.msgpack.decode(with_a_liar(limits=Limits())[0].ledger.dump())
    for group in old["groups"]:
        del group["watch"]
    late = fresh(snapshot=msgspec.msgpack.encode(old))
    assert (late.ledger.parked, parameters(late).members) == ([], 4)
    for seq in (3, 4):
        for device in ("cam-1", "cam-2", "cam-3", "cam-4"):
            send(late, upload(device, seq, 3.0 if device == "cam-4" else 1.0))
    assert late.ledger.parked == ["cam-4"]


def test_switched_off_again_the_parked_are_back_in_the_sum() -> None:
    session, _ = with_a_liar()
    plain = fresh(Limits(), session.ledger.dump())
    assert plain.ledger.parked == plain.ledger.troubles == []
    assert (parameters(plain).members, parameters(plain).count) == (4, 160)
    assert parameters(plain).version == parameters(session).version + 1
    plain.check()


def test_beyond_its_room_devices_are_merged_unwatched() -> None:
    session, said = with_a_liar(limits=Limits(guard=GuardSettings(), guard_bytes=1200))
    assert not any(isinstance(command, do.ReportVerdict) for command in said)
    assert parameters(session).members == 4
    watch = session.ledger[KEY].watch
    assert watch is not None
    assert len(watch) < 4


@pytest.mark.parametrize("on", [True, False])
def test_the_guard_is_a_setting(on: bool, tmp_path: Any) -> None:
    settings = AggregatorSettings(id="a", broker=BrokerAddress("localhost"), state_dir=tmp_path, guard=on)
    assert (settings.limits.guard is not None) == on
