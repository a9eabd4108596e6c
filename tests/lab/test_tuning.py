"""Tuning: the search on a surface of known shape, what it may see, and what became of its winners."""

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bus.errors import ConfigurationError
from lab.simulator import spec
from lab.simulator.experiment import load
from lab.tune.__main__ import main
from lab.tune.plan import FIRST_EVALUATION_SEED, experiment_at, read_plan
from lab.tune.record import JSON, PAGE, entry_of, page_of, read_record
from lab.tune.search import Grid, Point, descend
from tests.support.experiments import SIMULATED

RESULTS = Path("docs/results")
RECORD = read_record(RESULTS)["policies"]
GRID: Grid = {"a": [1.0, 0.0, 2.0, 3.0], "b": [10, 0, 20]}
GOOD = """
experiment = "lab/experiments/ordering.toml"
first_seed = 7
seeds = 2
frames = 5
[policies.two_arm]
smoothing = [0.1, 0.5]
edge_arm = ["0/jpeg", "0/uint8"]
[policies.linucb]
beta_prior = [1.0]
"""


def bowl(point: Point) -> float:
    a, b = float(point[0]), float(point[1])
    return (a - 2.0) ** 2 + (b - 20.0) ** 2 + 0.01 * a * b


def search(grid: Grid) -> tuple[Point, dict[Point, float]]:
    means: dict[Point, float] = {}
    while True:
        point, missing = descend(grid, means)
        if not missing:
            return point, means
        assert not set(missing) & set(means)
        means |= {each: bowl(each) for each in missing}


def written(folder: Path, text: str) -> Path:
    path = folder / "plan.toml"
    path.write_text(text)
    return path


def test_the_search_ends_at_the_best_of_the_grid_without_playing_all_of_it() -> None:
    point, means = search(GRID)
    assert point == min(itertools.product(*GRID.values()), key=bowl)
    assert len(means) < 12


def test_the_search_retraces_its_steps_and_leaves_what_is_no_worse() -> None:
    point, means = search(GRID)
    assert descend(GRID, means) == (point, [])
    assert descend(GRID, {})[1] == [(value, 10) for value in GRID["a"]]
    flat = dict.fromkeys(itertools.product(*GRID.values()), 1.0)
    assert descend(GRID, flat) == ((1.0, 10), [])


def test_evaluation_and_tuning_share_no_seed() -> None:
    plan = read_plan()
    tuned = set(range(plan.first_seed, plan.first_seed + plan.seeds))
    for entry in RECORD.values():
        first, last = entry["seeds"]
        tuned |= set(range(first, last + 1))
    assert max(tuned) < FIRST_EVALUATION_SEED
    for path in SIMULATED:
        experiment = load(path)
        assert not tuned & set(range(experiment.first_seed, experiment.first_seed + experiment.seeds)), path


@pytest.mark.parametrize("policy", read_plan().policies)
def test_tuning_plays_generated_links_and_every_value_of_the_plan_is_one(policy: str) -> None:
    plan = read_plan()
    for point in itertools.zip_longest(*plan.policies[policy].values()):
        settings = [
            values[0] if value is None else value
            for value, values in zip(point, plan.policies[policy].values(), strict=True)
        ]
        experiment = experiment_at(plan, policy, tuple(settings))
        world = experiment.worlds[policy]
        assert isinstance(world, spec.Site)
        assert world.traces == ""
        assert not any(isinstance(kind.link, spec.Trace) for kind in world.types)
        assert (experiment.first_seed, experiment.seeds) == (plan.first_seed, plan.seeds)


@pytest.mark.parametrize("path", SIMULATED, ids=lambda path: path.stem)
def test_tuned_policies_play_everywhere_with_the_settings_that_won(path: Path) -> None:
    experiment = load(path)
    rivals = set(experiment.policies) & set(RECORD) - {"default"}
    if experiment.testbed is not None and rivals:  # tuned for its own world, and its file says how
        assert "# Tuned by" in path.read_text()
        return
    for name, learner in experiment.policies.items():
        for knob, value in RECORD.get(name, {}).get("winner", {}).items():
            assert getattr(learner, knob) == value, (
                f"{path}: {name}.{knob} is not what docs/results/tuning.md found"
            )


def test_the_page_says_what_the_record_says_and_the_record_what_the_plan_asks() -> None:
    plan = read_plan()
    assert (RESULTS / PAGE).read_text() == page_of({"policies": RECORD})
    assert list(RECORD) == list(plan.policies)
    for name, entry in RECORD.items():
        assert entry["grid"] == plan.policies[name], f"{name}: tune it again, its grid has changed"
        means = {tuple(trial["settings"].values()): trial["mean_ms"] for trial in entry["trials"]}
        assert descend(plan.policies[name], means) == (tuple(entry["winner"].values()), [])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("first_seed = 7", "first_seed = 999", "seeds 999 to 1000 reach into those of evaluation"),
        ("smoothing = [0.1, 0.5]", "smoothing = []", "length >= 1"),
        ("frames = 5", "frame = 5", "frame"),
        ("frames = 5", "frames = 5\nelsewhere = { ans = 'x' }", "elsewhere names 'ans', which has no grid"),
        ("frames = 5", "frames =", "plan.toml"),
        ('["0/jpeg", "0/uint8"]', "[3]", "policies.two_arm.edge_arm: Expected `str`"),
        ("smoothing", "smoothign", "there is no key 'smoothign': did you mean 'smoothing'?"),
        ("[policies.linucb]", "[policies.linucbb]", "there is no learner 'linucbb'"),
    ],
)
def test_a_plan_that_cannot_be_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    assert old in GOOD
    plan = written(tmp_path, GOOD.replace(old, new))
    assert main(["--plan", str(plan), "--docs", str(tmp_path), "--out", str(tmp_path), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not list(tmp_path.rglob("*.parquet"))


def test_what_cannot_be_asked_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = str(written(tmp_path, GOOD))
    (tmp_path / JSON).write_text("{")
    for arguments, said in (
        (["--plan", str(tmp_path / "nothing.toml")], "cannot read the tuning plan"),
        (["--plan", plan, "--only", "ans"], "has no grid for 'ans': choose from two_arm, linucb"),
        (["--plan", plan, "--seeds", "994"], "take fewer"),
        (["--plan", plan, "--seeds", "0"], "from 1 on"),
        (["--plan", plan], "cannot read"),
    ):
        assert main([*arguments, "--docs", str(tmp_path), "--out", str(tmp_path), "--quiet"]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


def test_recorded_links_are_refused(tmp_path: Path) -> None:
    recorded = tmp_path / "recorded.toml"
    recorded.write_text(
        Path("lab/experiments/ordering.toml").read_text().replace("[world]", '[world]\ntraces = "x"')
    )
    plan = read_plan(written(tmp_path, GOOD.replace("lab/experiments/ordering.toml", str(recorded))))
    with pytest.raises(ConfigurationError, match="for evaluation"):
        experiment_at(plan, "linucb", (1.0,))


def test_a_policy_may_be_tuned_in_the_world_that_it_is_made_for(tmp_path: Path) -> None:
    drift = 'elsewhere = { linucb = "lab/experiments/drift.toml" }'
    plan = read_plan(written(tmp_path, GOOD.replace("frames = 5", f"frames = 5\n{drift}")))
    there = experiment_at(plan, "linucb", (1.0,)).worlds["linucb"]
    assert isinstance(there, spec.Site)
    assert there.changes
    assert entry_of(plan, "linucb", (1.0,), {})["experiment"] == "lab/experiments/drift.toml"
    assert entry_of(plan, "two_arm", (0.1, "0/jpeg"), {})["experiment"] == plan.experiment


def test_an_arrow_marks_a_number_at_an_end_of_its_list() -> None:
    plan = read_plan()
    knobs = list(plan.policies["ans"].values())
    figures: Any = {"mean_ms": {"mean": 70.0, "ci95": None}, "messages": {"mean": 0.0, "ci95": None}}
    marks = []
    for end in (min, max):
        point = tuple(end(values) for values in knobs)
        page = page_of({"policies": {"ans": entry_of(plan, "ans", point, {point: figures})}})
        marks.append(("↓" in page, page.count("↑") > 0))
    assert marks == [(True, False), (False, True)]


@pytest.mark.system
def test_tuning_records_its_winners_resumes_and_leaves_the_others_alone(tmp_path: Path) -> None:
    def run(*more: str) -> str:
        command = [
            sys.executable,
            "-m",
            "lab.tune",
            "--plan",
            str(written(tmp_path, GOOD)),
            "--docs",
            str(tmp_path),
        ]
        done = subprocess.run(
            [*command, "--out", str(tmp_path / "runs"), "--processes", "1", *more],
            check=True, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        return done.stdout

    assert "two_arm: smoothing = " in run()
    record = json.loads((tmp_path / JSON).read_text())
    assert [len(entry["trials"]) for entry in record["policies"].values()] == [3, 1]
    entry = record["policies"]["two_arm"]
    best = min(entry["trials"], key=lambda trial: trial["mean_ms"])
    assert entry["winner"] == best["settings"]
    assert entry["seeds"] == [7, 8]
    page = (tmp_path / PAGE).read_text()
    bold = [str(value) for value in best["settings"].values()] + [f"{best['mean_ms']:.2f}"]
    assert "| **" + "** | **".join(bold) in page
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.parquet")}
    assert len(kept) == 2 * 4
    run("--only", "linucb", "--seeds", "3")
    again = json.loads((tmp_path / JSON).read_text())
    assert again["policies"]["two_arm"] == entry
    assert again["policies"]["linucb"]["seeds"] == [7, 9]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(list((tmp_path / "runs").rglob("*.parquet"))) == 2 * 4 + 1
