"""What is said of a grid is what its numbers say, losses as loudly as wins."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bus.errors import ConfigurationError
from lab.grid.map_figure import draw
from lab.grid.markdown import write_page
from lab.grid.outcome import Outcome, columns_of, in_short, outcome_of, report_of, rows_of
from lab.results_index import table
from lab.simulator import spec

AXES = {"edge": ["idle", "loaded"], "link": ["slow", "fast"]}
CELLS = [{"edge": edge, "link": link} for edge in AXES["edge"] for link in AXES["link"]]
PHONE = spec.DeviceType(name="phone", link=spec.Constant(mbit_s=8.0))
EXPERIMENT = spec.Experiment(
    title="A grid",
    asks="Does it lose?",
    world=spec.Site(types=(PHONE,), frames=100),
    policies={},
    worlds={},
    settle_frames=20,
)
PROVENANCE: dict[str, Any] = {
    "experiment": "grid.toml",
    "seeds": [1000, 1003],
    "simulated": True,
    "command": "cans simulate grid.toml",
    "versions": {"cans": "1", "python": "3", "numpy": "2", "machine": "m"},
}


def report(
    means: Mapping[str, float], *, seeds: int = 4, later: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """Return a summary whose means are these, give or take a thousandth by seed."""
    by_seed = {
        policy: {
            str(seed): {"mean_ms": mean * (1.0 + 0.001 * (seed - 0.5 * (seeds - 1)))}
            | ({"later_mean_ms": later[policy]} if later else {})
            for seed in range(seeds)
        }
        for policy, mean in means.items()
    }
    return {
        "policies": {policy: {"mean_ms": {"mean": mean, "ci95": None}} for policy, mean in means.items()},
        "by_seed": by_seed,
    }


def outcome(ours: float, cell: int = 0, *, seeds: int = 4) -> Outcome:
    means = {"default": ours, "ans": 120.0, "two_arm": 100.0, "device_only": 150.0, "oracle": 1.0}
    return outcome_of(CELLS[cell], EXPERIMENT, report(means, seeds=seeds))


@pytest.mark.parametrize(
    ("ours", "verdict"), [(90.0, "win"), (100.0, "tie"), (101.9, "tie"), (102.1, "loss"), (150.0, "loss")]
)
def test_a_verdict_is_as_far_as_the_interval_carries(ours: float, verdict: str) -> None:
    found = outcome(ours)
    assert found.verdict == verdict
    assert found.simple is not None
    assert found.simple.against == "two_arm"
    assert found.simple.other_ms == pytest.approx(100.0)
    assert found.simple.value == pytest.approx(ours / 100.0)
    assert found.rival is not None
    assert found.rival.value == pytest.approx(ours / 120.0)
    assert outcome(ours, seeds=2).verdict == "unproven"


def test_a_loss_that_seeds_do_not_agree_on_is_none() -> None:
    ours = {"mean_ms": 100.0}, {"mean_ms": 90.0}, {"mean_ms": 160.0}, {"mean_ms": 95.0}
    wide = report({"default": 111.0, "two_arm": 100.0})
    wide["by_seed"]["default"] = {str(seed): row for seed, row in enumerate(ours)}
    found = outcome_of(CELLS[0], EXPERIMENT, wide)
    assert found.simple is not None
    assert found.simple.value > 1.1
    assert found.verdict == "tie"


def test_first_frames_are_what_later_ones_leave() -> None:
    found = outcome_of(
        CELLS[0],
        EXPERIMENT,
        report({"default": 110.0, "two_arm": 100.0}, later={"default": 100.0, "two_arm": 100.0}),
    )
    assert found.first is not None
    assert found.later is not None
    assert found.later.value == 1.0
    assert found.first.value == pytest.approx((100 * 110.0 - 80 * 100.0) / 20 / 100.0)
    assert outcome(100.0).first is None


def test_cells_without_us_or_without_anything_simple_prove_nothing() -> None:
    for means in ({"default": 1.0, "ans": 2.0}, {"two_arm": 1.0}):
        found = outcome_of(CELLS[0], EXPERIMENT, report(means))
        assert (found.simple, found.verdict) == (None, "unproven")


def test_the_sentence_counts_cells_and_names_the_lost_ones_worst_first() -> None:
    outcomes = [outcome(90.0, 0), outcome(101.0, 1), outcome(110.0, 2), outcome(130.0, 3)]
    said = in_short(outcomes)
    assert said.startswith(
        "of 4 cells, `default` is faster than the best simple policy in 1, within 2 % of it or level with it "
        "in 1, and slower by more than that, beyond its interval, in 2."
    )
    assert said.endswith("**Exceptions: loaded, fast 1.300 (two_arm); loaded, slow 1.100 (two_arm).**")
    assert "Exceptions" not in in_short(outcomes[:2])
    assert in_short([outcome(90.0), outcome(90.0, seeds=2)]).endswith(
        "in 0. 1 cell had too few seeds for an interval."
    )
    few = in_short([outcome(150.0, seeds=2)])
    assert few == "unproven: 1 cell, and none had enough seeds for an interval."


def test_the_last_axis_goes_across_and_what_was_not_played_is_left_out() -> None:
    outcomes = [outcome(90.0, 0), outcome(110.0, 3)]
    assert columns_of(AXES) == ["slow", "fast"]
    assert rows_of(AXES, outcomes) == {"idle": {"slow": outcomes[0]}, "loaded": {"fast": outcomes[1]}}


def test_the_summary_holds_verdicts_ratios_and_each_cells_figures() -> None:
    reports = {"idle,slow": report({"default": 130.0, "two_arm": 100.0})}
    outcomes = [outcome_of(CELLS[0], EXPERIMENT, reports["idle,slow"])]
    found = report_of(AXES, outcomes, reports, PROVENANCE)
    assert found["verdicts"] == {"win": 0, "tie": 0, "loss": 1, "unproven": 0}
    cell = found["cells"]["idle,slow"]
    assert (cell["cell"], cell["verdict"], cell["simple"]["against"]) == (CELLS[0], "loss", "two_arm")
    assert (cell["rival"], cell["policies"]) == (None, reports["idle,slow"]["policies"])
    assert found["provenance"] == PROVENANCE


def test_the_map_has_a_number_a_cell_and_losses_stand_out() -> None:
    drawn = draw(AXES, [outcome(90.0, 0), outcome(130.0, 3)])
    simple, rival = drawn.figure.axes
    texts = {text.get_text(): text.get_fontweight() for text in simple.texts}
    assert texts == {"0.900": "normal", "-": "normal", "1.300": "bold"}
    assert len(simple.texts) == 4
    assert len(simple.patches) == 1
    assert [text.get_text() for text in rival.texts] == ["0.750", "-", "-", "1.083"]
    assert len(rival.patches) == 1
    assert "currentColor" in drawn.svg()


def test_a_page_says_losses_in_bold_and_where_they_come_from(tmp_path: Path) -> None:
    outcomes = [outcome(90.0, 0), outcome(130.0, 3)]
    write_page(EXPERIMENT, AXES, outcomes, PROVENANCE, tmp_path / "grid.md")
    text = (tmp_path / "grid.md").read_text()
    assert text.startswith("# A grid\n\nDoes it lose?\n\nIn short: of 2 cells")
    assert "    cans simulate grid.toml\n" in text
    assert "| idle | 0.900 (0.900 to 0.900) two_arm | - |" in text
    assert "| loaded | - | **1.300 (1.300 to 1.300) two_arm** |" in text
    assert "| **loaded, fast** | two_arm | 100.0 | 130.0 | 1.300 (1.300 to 1.300) | - | - |" in text
    assert "![Mean latency of default over that of others, in every cell](grid-map.png)" in text
    assert (tmp_path / "grid-map.png").stat().st_size > 0
    assert "| [grid](grid.md) | Does it lose? | of 2 cells" in table(tmp_path)
    write_page(EXPERIMENT, AXES, outcomes[:1], PROVENANCE, tmp_path / "good.md")
    assert "Where it loses" not in (tmp_path / "good.md").read_text()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot write the page"):
        write_page(EXPERIMENT, AXES, outcomes, PROVENANCE, tmp_path / "file" / "grid.md")
