"""What a late device's first frames cost is told by policy, against everybody, and of it alone."""

from pathlib import Path

import pytest

from lab.testbed.report.in_short import in_short
from lab.testbed.report.markdown import write_page
from lab.testbed.report.newcomers import newcomers_of
from tests.support.testbed_runs import MEANS, Run, run, steady

_TYPES = (
    "world.types=[{name='phone',link={kind='constant',mbit_s=1.0}},"
    "{name='late',declared='phone',join_after_frames=20,link={kind='constant',mbit_s=1.0}}]"
)


def joined(
    folder: Path,
    *,
    frames: int = 50,
    only: tuple[str, ...] = ("default", "ans"),
    factor: float = 3.0,
    seeds: int = 4,
) -> Run:
    """Return a run whose newcomer begins with ten frames `factor` times as long under `default`; 0: any."""

    def ms(policy: str, device: str, frame: int, seed: int) -> float:
        slow = device == "late-1" and policy == "default" and frame < 30
        times = factor or (5.0 if seed % 2 else 1.0)
        return steady(policy, device, frame, seed) * (times if slow else 1.0)

    overrides = (_TYPES, f"world.frames={frames}", "testbed.sweep=[]")
    return run(folder, seeds=seeds, ms=ms, only=only, overrides=overrides)


def test_first_frames_are_the_newcomers_own_and_counted_from_its_coming(tmp_path: Path) -> None:
    made = joined(tmp_path)
    (found,) = newcomers_of(made.plan, made.report, made.repetitions)
    assert (found.device, found.joins, found.first, found.judged) == ("late-1", 20, [10, 20], 20)
    rows = {row.policy.name: row for row in found.rows}
    ours = [each and each["mean"] for each in rows["default"].first_ms]
    assert ours == pytest.approx([3.0 * MEANS["default"], 2.0 * MEANS["default"]], rel=0.02)
    assert rows["default"].later_ms is not None
    assert rows["default"].later_ms["mean"] == pytest.approx(MEANS["default"], rel=0.02)
    assert rows["ans"].first_ms[0] is not None
    assert rows["ans"].first_ms[0]["ci95"] is not None
    (against,) = found.ratios
    assert against.against == "ans"
    assert against.value == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize(
    ("factor", "verdict", "good"),
    [
        (9.0, "Slower at first than ans:", False),
        (0.5, "Faster at first than ans:", True),
        (0.0, "No difference shown at first:", None),
    ],
)
def test_who_loses_at_first_is_named(
    tmp_path: Path, factor: float, verdict: str, *, good: bool | None
) -> None:
    made = joined(tmp_path, factor=factor)
    (said,) = (
        each for each in in_short(made.plan, made.report, made.repetitions) if "on late-1" in each.text
    )
    assert (said.verdict, said.good) == (verdict, good)
    assert "times ans (" in said.text


def test_of_one_repetition_nothing_is_proven(tmp_path: Path) -> None:
    made = joined(tmp_path, seeds=1)
    (said,) = (each for each in in_short(made.plan, made.report, made.repetitions) if "late-1" in each.text)
    assert (said.verdict, said.good) == ("Unproven against ans:", None)


def test_a_short_stay_is_all_first_frames(tmp_path: Path) -> None:
    made = joined(tmp_path, frames=25)
    (found,) = newcomers_of(made.plan, made.report, made.repetitions)
    assert (found.first, found.judged) == ([5], 5)
    assert all(row.later_ms is None for row in found.rows)
    write_page(made.plan, made.report, made.repetitions, tmp_path / "late.md")
    assert "| policy | first 5 | later |" in (tmp_path / "late.md").read_text()


def test_without_default_or_without_newcomers_nobody_is_compared(tmp_path: Path) -> None:
    made = joined(tmp_path, only=("ans", "device_only"))
    (found,) = newcomers_of(made.plan, made.report, made.repetitions)
    assert found.ratios == []
    assert "late-1" not in " ".join(each.text for each in in_short(made.plan, made.report, made.repetitions))
    alone = run(tmp_path)
    assert newcomers_of(alone.plan, alone.report, alone.repetitions) == []
