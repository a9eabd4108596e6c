"""The bound as numbers, and the command that holds it above what is measured."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bandits.radius import information, server_radius
from lab.simulator import spec
from lab.simulator.federated_team import FederatedTeam
from lab.theory.bounds import Setting, most_regret, most_uploads
from lab.theory.page import Outcome, in_short, summary, write
from lab.theory.play import (
    ARMS,
    DELTA,
    DIMENSION,
    NOISE,
    REGULARISATION,
    Case,
    Played,
    WorldWithExits,
    learner,
    play,
)

SETTING = Setting(members=4, alpha=0.5, beta_s=2.0, everybody_hears=True)


def test_uploads_are_bounded_as_theorem_3_says() -> None:
    assert most_uploads(SETTING, 10.0) == pytest.approx(10 / math.log(1.5))
    assert most_uploads(SETTING, 10.0, 3.0) == pytest.approx(10 / math.log(4))
    one_hears = Setting(members=4, alpha=0.5, beta_s=2.0, everybody_hears=False)
    assert most_uploads(one_hears, 10.0) == pytest.approx(9 * (1 + 10 / math.log(3)))


def test_regret_is_bounded_with_the_best_alpha_and_known_uploads_help() -> None:
    bound, analysed = most_regret(SETTING, 1000, 10.0)
    for other in (0.5, 0.7, 2.0, 20.0):
        plain = 2 * most_uploads(SETTING, 10.0, other) + 4 * math.sqrt((1 + 4 * other) * 10_000)
        assert bound <= plain * 1.02
    assert analysed >= 0.5
    assert most_regret(SETTING, 1000, 10.0, uploads=0.0)[0] == pytest.approx(4 * math.sqrt(30_000))


def test_regret_is_bounded_by_the_written_formula() -> None:
    for hears in (True, False):
        setting = Setting(
            members=4, alpha=0.5, beta_s=2.0, everybody_hears=hears, parameter_norm_s=3.0, context_norm=1.5
        )
        bound, best = most_regret(setting, 1000, 10.0)
        big = 2 * 1.5 * 3.0 * most_uploads(setting, 10.0, best)
        assert bound == pytest.approx(big + 2 * 2.0 * math.sqrt((1 + 4 * best) * 1000 * 10))
    assert most_regret(setting, 1000, 0.0, uploads=5.0)[0] == pytest.approx(2 * 1.5 * 3.0 * 5)


def test_a_run_is_what_a_second_count_finds() -> None:
    case, rounds, seed = Case(members=3, alpha=0.3, offline=20), 100, 5
    run, beta_s = play(case, rounds, seed), case.setting(rounds).beta_s
    rows = information(dimension=DIMENSION, rows=rounds + 60, regularisation=REGULARISATION)
    assert beta_s == server_radius(
        information=rows, regularisation=REGULARISATION, noise_s=NOISE, parameter_norm_s=1.0, delta=DELTA
    )
    world = WorldWithExits(
        spec.Synthetic(devices=3, rounds=rounds, dimension=DIMENSION, arms=ARMS, noise=NOISE), seed
    )
    offline = [world.experience(device, 20).gram for device in range(3)]
    start = REGULARISATION * np.eye(DIMENSION) + sum(offline)
    team, regret, farthest = FederatedTeam(learner(case, beta_s), world, seed), 0.0, 0.0
    gram = start.copy()
    theta = -np.ones(DIMENSION) / math.sqrt(DIMENSION)
    for turn in world.turns():
        assert turn.means == pytest.approx(turn.contexts @ theta)
        arm = team.select(turn)
        policy = team.policies[turn.device]
        off = policy.theta - theta
        farthest = max(farthest, math.sqrt(off @ policy.member.view().gram @ off))
        team.update(turn, arm, turn.cost_of(arm))
        regret += turn.means[arm] - min(turn.means)
        gram += np.outer(turn.contexts[arm], turn.contexts[arm])
    grown = np.linalg.slogdet(gram)[1] - np.linalg.slogdet(start)[1]
    assert run.regret[-1] == pytest.approx(regret)
    assert run.information[-1] == pytest.approx(grown)
    assert run.uploads[-1] == team.group_of(0).version - 3  # three were of early-exit rows
    assert run.distance == pytest.approx(farthest / beta_s)


@pytest.mark.parametrize(
    "case",
    [
        Case(members=3, alpha=0.3, offline=20),
        Case(members=3, alpha=0.3, download="uploader"),
        Case(members=3, alpha=0.3, view="fresh", radius="group"),
    ],
)
def test_a_run_lies_below_both_bounds_and_its_uploads_below_theirs(case: Case) -> None:
    outcome = Outcome(case, 200, [play(case, 200, 3)])
    run = outcome.runs[0]
    assert outcome.holds
    assert 0.0 < run.distance <= 1.0
    assert run.uploads[-1] <= most_uploads(case.setting(200), float(run.information[-1]))
    assert (np.diff(run.regret) >= 0).all()
    assert (np.diff(run.information) > 0).all()


def test_a_curve_above_its_bound_is_said(tmp_path: Path) -> None:
    case = Case(members=1, alpha=1.0)
    good = play(case, 100, 3)
    bad = Played(
        rounds=good.rounds,
        regret=good.regret + 1e6,
        information=good.information,
        uploads=good.uploads,
        distance=2.0,
    )
    assert not Outcome(case, 100, [good, bad]).holds
    assert summary([Outcome(case, 100, [bad])]) == {f"{case.name}, T = 100": False}
    write([Outcome(case, 100, [bad])], tmp_path / "page.md", 1)
    assert "In short: **a measured curve lies above its bound**" in (tmp_path / "page.md").read_text()


def test_the_ratios_are_those_of_the_horizon() -> None:
    case = Case(members=1, alpha=1.0)
    ten = Played(
        rounds=np.array([50, 100]),
        regret=np.array([1.0, 10.0]),
        information=np.array([5.0, 6.0]),
        uploads=np.array([0.0, 0.0]),
        distance=0.25,
    )
    outcome = Outcome(case, 100, [ten])
    after = 2 * case.setting(100).beta_s * math.sqrt(2 * 100 * 6.0)
    before = outcome.before()[-1]
    assert outcome.last() == pytest.approx((10.0, after, before))
    assert before > 200  # so it says nothing
    said = in_short([outcome])
    assert f"is {after / 10:.0f} to {after / 10:.0f} times the regret" in said
    assert f"{before / 10:.0f} to {before / 10:.0f} times; in 0 of 1 cases" in said
    assert "than 0.25 of the radius" in said
    between = Played(
        rounds=ten.rounds,
        regret=np.array([1.0, after + 1.0]),
        information=ten.information,
        uploads=ten.uploads,
        distance=0.25,
    )
    assert after + 1.0 < before
    assert not Outcome(case, 100, [between]).holds


def test_the_command_writes_page_and_figure(tmp_path: Path) -> None:
    out = tmp_path / "new" / "page.md"
    command = [sys.executable, "-m", "lab.theory", "--seeds", "1", "--rounds", "80", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    asked, said = out.read_text().split("\n\n")[1:3]
    assert asked.endswith("?")
    assert said.startswith("In short: every measured curve lies below both bounds")
    assert out.with_name("page-regret.png").stat().st_size > 10_000


def test_no_seeds_are_refused_in_a_sentence() -> None:
    command = [sys.executable, "-m", "lab.theory", "--seeds", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "'0' will not do: a whole number from 1" in done.stderr
