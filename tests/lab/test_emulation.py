"""A slower device, emulated: target times are kept, and nothing becomes faster than it is."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bus.errors import ConfigurationError
from device.compute import Frame, LocalAnswer
from device.events import ExitRow, Head
from device.plan import Plan, PlanArm, PlanExit
from lab.choose_types import Place, costs_ms
from lab.emulation import MachineProfile, StretchedCompute, load_profile
from tests.support.profiles import profile_of

MODEL = "00112233445566aa"
PROFILE = MachineProfile(
    model=MODEL,
    labels=("0/jpeg", "0/uint8", "end/none"),
    head_ms=(0.0, 0.0, 20.0),
    encode_ms=(1.0, 0.5, 0.0),
    payload_bytes=(10_000.0, 150_000.0, 0.0),
    finish_ms=(20.0, 20.0, 0.0),
    edge_ms=(21.0, 20.0, 0.0),
    exit_ms=(5.0, 20.0),
)
FRAME = np.zeros((2, 2, 3), dtype=np.uint8)


class _Machine:
    """A device whose times the test chooses; it implements `Compute` and takes no time at all."""

    emulated = False
    exit_count = 2
    input_size = (2, 2)
    label = "two arms"

    def __init__(self, head_ms: float = 0.0, encode_ms: float = 0.0) -> None:
        self.head_ms, self.encode_ms = head_ms, encode_ms
        arms = (PlanArm(0, "jpeg"), PlanArm(0, "uint8"), PlanArm(1, "none"))
        self.plan = Plan(MODEL, MODEL, arms, np.zeros((3, 2)), (True, False), 2)

    def run_head(self, frame: Frame, arm: int, until: int | None = None) -> Head:
        return Head(b"x", "uint8", frame.shape, self.head_ms, self.encode_ms, kept=f"kept {arm}")

    def finish(self, kept: object, exit_index: int | None = None) -> LocalAnswer:
        assert kept == "kept 0"
        return LocalAnswer(3, 0.5, self.head_ms)

    def run_exits(self, frame: Frame, exit_index: int) -> ExitRow:
        del frame
        return ExitRow((float(exit_index),), self.head_ms / 1e3)


def _stretched(machine: _Machine, slowness: float = 4.0) -> SimpleNamespace:
    slept: list[float] = []
    return SimpleNamespace(compute=StretchedCompute(machine, PROFILE, slowness, slept.append), slept=slept)


def test_each_stage_takes_the_profile_times_the_slowness() -> None:
    emulated = _stretched(_Machine())
    head = emulated.compute.run_head(FRAME, 0)
    assert (head.head_ms, head.encode_ms) == (0.0, 4.0)
    assert emulated.compute.finish(head.kept).fallback_ms == 80.0
    assert emulated.compute.run_exits(FRAME, 1).latency_s == 0.08
    assert emulated.slept == pytest.approx([0.004, 0.08, 0.08], abs=0.004)


class _Exiting(_Machine):
    """It has one exit, before its last cut, that is sure or not."""

    def __init__(self, sure: bool) -> None:
        super().__init__()
        self.plan = replace(self.plan, exits=(PlanExit(1, (0.5, 0.0)),))
        self.sure = sure

    def run_head(self, frame: Frame, arm: int, until: int | None = None) -> Head:
        head = super().run_head(frame, arm)
        ends = (self.sure or until == 0) and arm == 2
        return replace(head, exit=0 if ends else None, forced=ends and not self.sure)


def test_exits_take_the_profile_times_the_slowness() -> None:
    profile = replace(PROFILE, exit_ms=(5.0, 22.0), encode_ms=(1.0, 0.5, 0.25))
    sure, unsure = (
        StretchedCompute(_Exiting(each), profile, 4.0, lambda seconds: None) for each in (True, False)
    )
    # 20 ms of network, and 2 ms of the head that was asked in vain.
    assert unsure.run_head(FRAME, 2).head_ms == 88.0
    assert unsure.run_head(FRAME, 0).head_ms == 0.0  # sends the frame: no exit is on its way
    for head in (sure.run_head(FRAME, 2), unsure.run_head(FRAME, 2, 0)):
        assert (head.exit, head.head_ms, head.encode_ms) == (0, 20.0, 0.0)
    kept = unsure.run_head(FRAME, 0).kept
    assert unsure.finish(kept, 0).fallback_ms == 20.0
    assert unsure.finish(kept).fallback_ms == 80.0
    with pytest.raises(ConfigurationError, match="give cans profile the same --exits"):
        StretchedCompute(_Exiting(sure=True), replace(PROFILE, exit_ms=(1.0, 2.0, 3.0)), 4.0)


def test_a_machine_slower_than_the_target_is_reported_as_it_is() -> None:
    emulated = _stretched(_Machine(head_ms=500.0, encode_ms=50.0))
    head = emulated.compute.run_head(FRAME, 2)
    assert (head.head_ms, head.encode_ms) == (500.0, 50.0)


def test_it_says_that_it_is_emulated() -> None:
    compute = _stretched(_Machine()).compute
    assert compute.emulated
    assert "emulated 4x slower" in compute.label
    assert (compute.exit_count, compute.input_size) == (2, (2, 2))


def test_it_takes_the_time_that_it_reports() -> None:
    import time

    compute = StretchedCompute(_Machine(), PROFILE, 2.0)
    start = time.monotonic()
    compute.run_head(FRAME, 2)
    assert time.monotonic() - start >= 0.04


def test_faster_than_the_machine_or_another_model_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="only be emulated slower"):
        _stretched(_Machine(), 0.5)
    machine = _Machine()
    machine.plan = Plan("f" * 16, MODEL, machine.plan.arms, machine.plan.contexts, (True, False), 2)
    with pytest.raises(ConfigurationError, match="make it with"):
        _stretched(machine)


def test_its_targets_are_those_of_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    made = profile_of()
    made.save(path)
    targets = load_profile(path)
    assert targets.labels == ("0/jpeg", "1/int8-zstd", "end/none")
    assert targets.head_ms == (0.0, 8.0, 20.0)
    assert targets.finish_ms == (21.0, 12.0, 0.0)
    assert targets.edge_ms == (21.5, 12.5, 0.0)
    assert targets.exit_ms == (6.0, 20.0)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": "x"}', '{"model": 1, "labels": 3}'])
def test_what_is_no_profile_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "profile.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="is no profile of version 2"):
        load_profile(path)
    with pytest.raises(ConfigurationError, match="cannot read the profile"):
        load_profile(tmp_path / "none")


def test_the_cost_of_an_arm_is_the_sum_of_its_stages() -> None:
    costs = costs_ms(PROFILE, Place(slowness=2.0, rate_mbit=8.0, delay_ms=5.0))
    assert costs["end/none"] == 40.0
    # 2 ms encode, 10 ms for 80 kbit, two delays of 5 ms, 21 ms edge, 4 ms bus.
    assert costs["0/jpeg"] == pytest.approx(2.0 + 10.0 + 10.0 + 21.0 + 4.0)
