"""Pages of results say what came out, and say loudly where ours loses."""

from pathlib import Path
from typing import Any

import pytest

from lab.simulator import spec
from lab.simulator.report import write_page

PHONE = spec.DeviceType(name="phone", link=spec.Constant(mbit_s=8.0))
WORLD = spec.Site(types=(PHONE,))


def figure(mean: float, half: float | None = 1.0) -> dict[str, Any]:
    return {"mean": mean, "ci95": None if half is None else [mean - half, mean + half]}


def page(
    folder: Path,
    means: dict[str, float],
    *,
    later: dict[str, float] | None = None,
    joiners: dict[str, float] | None = None,
    honest: dict[str, float] | None = None,
    **more: object,
) -> str:
    experiment = spec.Experiment(
        title="A test", asks="What?", world=WORLD, policies={}, worlds={}, **more  # type: ignore[arg-type]
    )  # fmt: skip
    versions = {"cans": "1", "python": "3", "numpy": "2", "machine": "m"}
    report: dict[str, Any] = {
        "policies": {
            name: {"regret": figure(1.5), "mean_ms": figure(mean), "messages": figure(1234.0, None)}
            | {f"first50_{joiner}": figure(ratio, 0.01) for joiner, ratio in (joiners or {}).items()}
            for name, mean in means.items()
        },
        "provenance": {"experiment": "t.toml", "sha256": "f" * 64, "versions": versions},
    }
    for name, mean in (later or {}).items():
        report["policies"][name]["later_mean_ms"] = figure(mean)
    for name, regret in (honest or {}).items():
        report["policies"][name]["honest_regret"] = figure(regret)
    (folder / "figures").mkdir(exist_ok=True)
    drawn = [folder / "figures" / f"regret.{kind}" for kind in ("svg", "png")]
    for path in drawn:
        path.write_bytes(b"png")
    (folder / "figures" / "latency.png").write_bytes(b"of an earlier run")
    target = folder / "docs" / "test.md"
    write_page(experiment, report, drawn, target, "cans simulate t.toml")
    return target.read_text()


def test_a_page_holds_question_command_table_and_figures(tmp_path: Path) -> None:
    text = page(tmp_path, {"default": 50.0, "oracle": 40.0})
    assert text.startswith("# A test\n\nWhat?\n")
    assert "    cans simulate t.toml\n" in text
    assert "| default | 1.50 (0.50 to 2.50) | 50.0 (49.0 to 51.0) | 1,234 |" in text
    assert "1.250 of the oracle's" in text
    assert "![regret](test-regret.png)" in text
    assert "![latency]" not in text
    assert (tmp_path / "docs" / "test-regret.png").read_bytes() == b"png"
    assert not (tmp_path / "docs" / "test-latency.png").exists()


def test_the_ratio_to_the_oracle_is_also_said_from_the_settling_frame_on(tmp_path: Path) -> None:
    both = {"default": 50.0, "oracle": 40.0}
    text = page(tmp_path, both, later={"default": 41.0, "oracle": 40.0}, settle_frames=250)
    assert "takes 1.250 of the oracle's mean latency. From frame 250 on it takes 1.025 of it." in text
    assert "| default | 1.50 (0.50 to 2.50) | 50.0 (49.0 to 51.0) | 1,234 | 41.0 (40.0 to 42.0) |" in text
    assert "From frame" not in page(tmp_path, both)
    assert "From frame" not in page(tmp_path, both, later={"default": 41.0})


@pytest.mark.parametrize(("ours", "loud"), [(50.0, False), (50.9, False), (51.1, True)])
def test_losing_to_something_simple_is_said_in_bold(tmp_path: Path, ours: float, loud: bool) -> None:
    text = page(tmp_path, {"default": ours, "two_arm": 50.0, "edge_only_jpeg": 60.0, "linucb": 20.0})
    assert f"(`two_arm`) it takes {ours / 50.0:.3f}." in text
    assert ("**Against the best of" in text) == loud
    assert "The fastest rival is `linucb`" in text


def test_what_was_published_stands_beside_what_came_out(tmp_path: Path) -> None:
    text = page(
        tmp_path,
        {"linucb": 55.0},
        published={"linucb": {"mean_ms": 50.0, "later_mean_ms": 1.0}, "absent": {"regret": 1.0}},
    )
    assert "| linucb | mean_ms | 50 | 55.0 | +10.0 % |" in text
    assert "absent" not in text
    assert "later_mean_ms" not in text  # it was not played for so long


@pytest.mark.parametrize(("worst", "loud"), [(1.099, False), (1.101, True)])
def test_what_a_joiner_pays_at_first_is_said_and_loudly_if_it_is_much(
    tmp_path: Path, worst: float, loud: bool
) -> None:
    text = page(
        tmp_path, {"fedlinucb_dw": 50.0, "linucb": 60.0}, joiners={"late_10": worst, "late_100": 1.02}
    )
    assert f"| {worst:.3f} ({worst - 0.01:.3f} to {worst + 0.01:.3f}) | 1.020 (" in text
    said = f"With `fedlinucb_dw` the first 50 frames of a joiner cost at most {worst:.3f} of"
    assert (f"**{said}" in text) == loud
    assert said in text
    assert "With `linucb`" not in text
    assert "joiner" not in page(tmp_path, {"fedlinucb_dw": 50.0})


@pytest.mark.parametrize(("worst", "loud"), [(2.19, False), (2.21, True)])
def test_what_lies_cost_the_honest_is_said_and_loudly_if_the_guard_lets_them(
    tmp_path: Path, worst: float, loud: bool
) -> None:
    honest = {"honest": 2.0, "sign_flip": 8.0, "sign_flip_guard": worst, "device_only": 99.0}
    text = page(tmp_path, dict.fromkeys(honest, 50.0), honest=honest)
    said = f"With the guard the regret of honest devices is at most {worst / 2.0:.2f} times"
    assert "Without the guard the regret of honest devices is at most 4.00 times" in text
    assert (f"**{said}" in text) == loud
    assert said in text
    assert "least first" not in text
    assert "honest devices" not in page(tmp_path, {"honest": 50.0})
    assert "with the guard" not in page(tmp_path, {"honest": 50.0}, honest={"honest": 2.0}).lower()
