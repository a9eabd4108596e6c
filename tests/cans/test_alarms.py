"""What deserves attention: told once, again only after it was over, and of nobody without end."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from bus.messages import Feedback, State
from cans.alarms import MOST_NODES, Alarm, Alarms, _Latest
from tests.support.samples import SAMPLES

SAID = msgspec.structs.replace(
    next(each for _, each in SAMPLES if isinstance(each, Feedback)), expected_ms=0.0
)
CAM = State(role="device", id="cam-1", state="ready", boot=1, version="0.1", type="pi4")


@dataclass
class Heard:
    """An `Alarms`, and the next frame's number."""

    alarms: Alarms = field(default_factory=Alarms)
    seq: int = 0

    def frames(self, count: int, *, seq: int | None = None, **more: Any) -> list[str]:
        kinds: list[str] = []
        for _ in range(count):
            self.seq += 1
            said = msgspec.structs.replace(SAID, seq=self.seq if seq is None else seq, **more)
            kinds += [alarm.kind for alarm in self.alarms.feedback(said)]
        return kinds


def test_a_node_that_goes_and_one_that_comes_back() -> None:
    alarms = Alarms()
    assert alarms.state(CAM) == []
    lost = msgspec.structs.replace(CAM, state="lost")
    assert alarms.state(lost) == [Alarm("device", "cam-1", "offline", "cam-1 is lost")]
    assert alarms.state(msgspec.structs.replace(CAM, state="disconnected")) == []  # it was gone before
    assert [alarm.kind for alarm in alarms.state(CAM)] == ["online"]
    alarms.forget("device", "cam-1")
    assert alarms.state(lost) == []  # nobody was known to be there


def test_whoever_is_kept_out_of_his_type_is_told_once() -> None:
    alarms = Alarms()
    said = State(
        role="aggregator", id="a", state="ready", boot=1, version="0.1", detail="parked: cam-2, cam-1"
    )
    assert [alarm.id for alarm in alarms.state(said)] == ["cam-1", "cam-2"]
    assert alarms.state(said) == []
    assert alarms.state(msgspec.structs.replace(said, detail="")) == []
    assert [alarm.id for alarm in alarms.state(msgspec.structs.replace(said, detail="x; parked: cam-1"))] == [
        "cam-1"
    ]
    alarms.forget("aggregator", "a")


def test_deadlines_that_are_mostly_missed_are_told_once_until_they_are_met() -> None:
    heard = Heard()
    assert heard.frames(10, deadline_met=True) + heard.frames(10, deadline_met=False) == []
    assert heard.frames(1, deadline_met=False) == ["late"]
    assert heard.frames(30, deadline_met=False) == []
    assert heard.frames(20, deadline_met=True) == []
    assert heard.frames(20, deadline_met=False) == []  # it comes and goes: not told again so soon
    assert heard.frames(300, deadline_met=True) == []
    assert heard.frames(20, deadline_met=False) == ["late"]


def test_frames_that_take_other_than_expected_are_drift_and_doubt_forgives() -> None:
    expects: dict[str, Any] = {"deadline_met": True, "expected_ms": 50.0, "total_ms": 100.0}
    assert Heard().frames(25, **expects, unsure_ms=5.0) == ["drift"]
    assert Heard().frames(25, **expects, unsure_ms=20.0) == []
    assert Heard().frames(25, deadline_met=True, expected_ms=90.0, total_ms=100.0, unsure_ms=1.0) == []
    assert Heard().frames(25, deadline_met=True, expected_ms=0.0, total_ms=100.0) == []


def test_policies_that_answer_a_frame_differently_disagree() -> None:
    heard, kinds = Heard(), []
    for seq in range(30):
        kinds += heard.frames(1, seq=seq, policy="a", top=1)
        kinds += heard.frames(1, seq=seq, policy="b", top=2 if seq % 5 == 0 else 1)
    assert kinds == ["disagree"]
    heard = Heard()
    for seq in range(30):
        assert heard.frames(1, seq=seq, policy="a", top=1) + heard.frames(1, seq=seq, policy="b", top=1) == []


def test_a_flood_of_nodes_is_bounded() -> None:
    alarms = Alarms()
    for number in range(MOST_NODES + 50):
        alarms.state(msgspec.structs.replace(CAM, id=f"c{number}"))
        alarms.feedback(msgspec.structs.replace(SAID, device=f"c{number}", seq=number))
    assert alarms.state(msgspec.structs.replace(CAM, id=f"c{MOST_NODES + 10}", state="lost")) == []
    assert [alarm.kind for alarm in alarms.state(msgspec.structs.replace(CAM, id="c5", state="lost"))] == [
        "offline"
    ]


def test_what_hovers_about_its_limit_is_told_once_until_it_is_over() -> None:
    latest = _Latest()
    assert [latest.tell(so=True, above=10) for _ in range(20)].count(20) == 1
    hovering = [latest.tell(so=bool(turn % 2), above=10) for turn in range(60)]  # 10 of the latest 20
    assert not [count for count in hovering if count is not None]
    [latest.tell(so=False, above=10) for _ in range(300)]
    assert [count for count in (latest.tell(so=True, above=10) for _ in range(20)) if count is not None] == [
        11
    ]
