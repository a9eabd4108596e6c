"""What turns come to."""

from dataclasses import dataclass

import msgspec
import pytest

from lab.simulator.experiment import load
from lab.testbed.coordinator import Repetition, Turn, path_of, read, write
from lab.testbed.orders import Joined, Played, Row
from lab.testbed.plan import Plan
from lab.testbed.probe import Drift, probe_ms
from lab.testbed.results import agreement_of, estimates, figures_of, summarise
from tests.lab.testbed.test_plan import TWO_TYPES

PLAN = Plan(
    load(
        TWO_TYPES,
        overrides=["world.frames=4", "testbed.block_frames=2", "seeds=2", "settle_frames=2"],
        only=["device_only", "edge_only_jpeg", "oracle", "best_fixed"],
    )
)


@dataclass
class Shown:
    """Milliseconds of two frames of a block, and the classes that were answered."""

    ms: tuple[float, float]
    top: tuple[int, int] = (1, 2)
    counts: bool = True


def turn(policy: str, device: str, number: int, shown: Shown, arm: str) -> Turn:
    rows = tuple(
        Row(
            seq=2 * number + at,
            arm=arm,
            by="device" if arm == "end/none" else "edge",
            reason="",
            top=shown.top[at],
            met=shown.ms[at] < 100.0,
            sent_bytes=0 if arm == "end/none" else 1000,
            stages={"total": shown.ms[at]},
        )
        for at in (0, 1)
    )
    return Turn(
        round=number,
        place=0,
        policy=policy,
        first=2 * number,
        at_s=0.0,
        device=device,
        type=device.partition("-")[0],
        attempt=0,
        counts=shown.counts,
        slower=0.0,
        played=Played(number=1, policy=policy, rows=rows, lost={}, cpu_s=0.01, messages=1, bytes=50),
    )


def repetition(seed: int = 1000) -> Repetition:
    turns = []
    for device, shift in (("phone-1", 0.0), ("board-1", 40.0)):
        for number in (0, 1):
            alone = Shown((50.0 + shift, 60.0 + shift))
            sent = Shown((40.0, 200.0) if number else (20.0, 30.0), top=(1, 9 if number else 2))
            turns += [
                turn("edge_only_jpeg", device, number, Shown((900.0, 900.0), counts=False), "0/jpeg"),
                turn("device_only", device, number, alone, "end/none"),
                turn("edge_only_jpeg", device, number, sent, "0/jpeg"),
                turn("arm.13.int8-zstd", device, number, Shown((500.0, 500.0)), "13/int8-zstd"),
            ]
    said = Joined(number=1, label="tiny", model="0" * 16, arms=("0/jpeg",), versions={})
    return Repetition(seed=seed, joined={"phone-1": said}, turns=turns, took_s=1.0)


def test_figures_are_of_the_turns_that_count() -> None:
    found = figures_of(PLAN, repetition(), "edge_only_jpeg")
    assert found["mean_ms"] == pytest.approx((20 + 30 + 40 + 200) / 4)
    assert found["later_mean_ms"] == pytest.approx(120.0)
    assert (found["answered"], found["missed"], found["payload_bytes"]) == (1.0, 0.25, 1000.0)
    assert (found["messages"], found["bytes"]) == (4.0, 200.0)
    assert found["agreement"] == 0.75


def test_who_answered_nothing_has_no_latency() -> None:
    silent = turn("edge_only_jpeg", "phone-1", 0, Shown((1.0, 2.0)), "0/jpeg")
    played = msgspec.structs.replace(silent.played, rows=(), lost={"0": "compute_failed", "1": "stopping"})
    lost = msgspec.structs.replace(silent, played=played)
    found = figures_of(PLAN, Repetition(seed=1, joined={}, turns=[lost], took_s=1.0), "edge_only_jpeg")
    assert found["answered"] == 0.0
    assert "mean_ms" not in found


def test_nobody_knows_the_agreement_where_nobody_ran_the_whole_network() -> None:
    only_sent = Repetition(
        seed=1,
        joined={},
        turns=[turn("edge_only_jpeg", "a-1", 0, Shown((1.0, 2.0)), "0/jpeg")],
        took_s=1.0,
    )
    assert agreement_of(only_sent, "edge_only_jpeg") is None


def test_the_best_arm_is_each_devices_and_the_oracles_each_blocks() -> None:
    found = estimates(PLAN, repetition())
    # A phone stays alone (55 against 72.5), a board sends (72.5 against 95).
    assert found["best_fixed"]["mean_ms"] == pytest.approx((55.0 + 72.5) / 2)
    # Block by block: 25 and 55 on the phone, 25 and 95 on the board.
    assert found["oracle"]["mean_ms"] == pytest.approx((25.0 + 55.0 + 25.0 + 95.0) / 4)


def test_a_summary_is_one_that_results_can_be_compared_by() -> None:
    report = summarise(PLAN, [repetition(1000), repetition(1001)], {"title": "t"})
    assert set(report["by_seed"]["device_only"]) == {"1000", "1001"}
    assert report["policies"]["device_only"]["mean_ms"]["mean"] == pytest.approx(75.0)
    assert report["policies"]["oracle"]["mean_ms"]["ci95"] == pytest.approx([50.0, 50.0])
    assert report["repeated"]["again"] == 8


def test_a_repetition_is_kept_whole(tmp_path: object) -> None:
    from pathlib import Path

    assert isinstance(tmp_path, Path)
    write(repetition(7), tmp_path)
    assert read(path_of(tmp_path, 7)) == repetition(7)
    assert [each.name for each in (tmp_path / "rounds").iterdir()] == ["seed-000007.json"]


def test_a_machine_that_became_slower_is_noticed() -> None:
    drift = Drift(0.1)
    assert [drift.slower(probe) for probe in (2.0, 2.0, 2.1)] == pytest.approx([0.0, 0.0, 0.05])
    assert drift.too_much(drift.slower(3.0))
    assert not drift.too_much(drift.slower(2.0))
    assert probe_ms() > 0.0
