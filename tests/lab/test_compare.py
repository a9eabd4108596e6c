"""Comparisons against hand-made figures and an oracle: what is shown, what is not, what cannot be said."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from bus.errors import ConfigurationError
from lab.simulator.compare import (
    Comparison,
    Results,
    Rows,
    compare_folders,
    compare_with,
    holm,
    read_results,
)

SEEDS = range(1000, 1010)
RANDOM = np.random.default_rng(4)
WEATHER = {seed: float(RANDOM.normal(100.0, 20.0)) for seed in SEEDS}  # what the seed makes of everybody


def rows(shift: float, noise: float = 0.1, *, figure: str = "mean_ms", seeds: range = SEEDS) -> Rows:
    random = np.random.default_rng(1 + round(1000 * abs(shift)))
    return {
        str(seed): {figure: WEATHER.get(seed, 100.0) + shift + noise * random.normal(), "messages": 3.0}
        for seed in seeds
    }


def results(**policies: Rows) -> Results:
    return Results("somewhere", policies, dict.fromkeys(policies, "here"), 200)


def of(comparisons: list[Comparison], policy: str, figure: str = "mean_ms") -> Comparison:
    [found] = [one for one in comparisons if (one.policy, one.figure) == (policy, figure)]
    return found


def test_a_small_difference_shows_through_seeds_that_differ_much() -> None:
    found = compare_with(results(base=rows(0.0), quick=rows(-1.0), slow=rows(2.0), same=rows(0.0)), "base")
    quick, slow, same = (of(found.comparisons, name) for name in ("quick", "slow", "same"))
    assert (quick.verdict, slow.verdict, same.verdict) == ("lower", "higher", "equal")
    assert quick.ci95[0] < -1.0 < quick.ci95[1] < 0.0 < slow.ci95[0] < 2.0 < slow.ci95[1]
    assert quick.p == 2 / 2**10
    assert quick.p_holm == 2 * quick.p  # the equal one is not counted
    assert (quick.seeds, quick.against, same.ci95) == (10, "base", (0.0, 0.0))
    assert of(found.comparisons, "quick", "messages").p_holm is None


def test_noise_shows_nothing_and_is_the_same_when_asked_again() -> None:
    noisy = results(base=rows(0.0, 5.0), other=rows(0.001, 5.0))
    found = compare_with(noisy, "base")
    assert of(found.comparisons, "other").verdict == "none shown"
    assert compare_with(noisy, "base") == found


def test_the_p_value_is_that_of_all_choices_of_signs() -> None:
    base, other = rows(0.0, 1.0), rows(0.5, 1.0)
    differences = np.array([other[seed]["mean_ms"] - base[seed]["mean_ms"] for seed in base])
    means = [abs(np.mean(differences * signs)) for signs in itertools.product([1, -1], repeat=10)]
    expected = np.mean(np.array(means) >= abs(differences.mean()) * (1 - 1e-12))
    assert of(compare_with(results(base=base, other=other), "base").comparisons, "other").p == expected


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_many_comparisons_ask_for_more_of_each() -> None:
    base = rows(0.0, 1.0)
    alone = compare_with(results(base=base, one=rows(1.8, 1.0)), "base")
    many = compare_with(
        results(base=base, one=rows(1.8, 1.0), **{f"n{i}": rows(i / 1000, 1.0) for i in range(1, 30)}), "base"
    )
    first, among = of(alone.comparisons, "one"), of(many.comparisons, "one")
    assert first.p == first.p_holm == among.p
    assert first.verdict == "higher"
    assert among.verdict == "none shown"


def test_what_only_another_order_of_a_sum_makes_is_no_difference() -> None:
    base = rows(0.0)
    dust = {seed: {"mean_ms": row["mean_ms"] * (1 + 1e-13)} for seed, row in base.items()}
    assert of(compare_with(results(base=base, dust=dust), "base").comparisons, "dust").verdict == "equal"


def test_where_nothing_is_timed_regret_matters() -> None:
    found = compare_with(
        results(base=rows(0.0, figure="regret"), other=rows(1.0, figure="regret")), "base"
    ).comparisons
    assert of(found, "other", "regret").verdict == "higher"


def test_two_folders_are_paired_by_the_seeds_that_both_have() -> None:
    first = results(a=rows(0.0), b=rows(0.0), gone=rows(0.0))
    second = results(
        a=rows(1.0, seeds=range(1003, 1020)), b=rows(0.0, seeds=range(1008, 1012)), new=rows(0.0)
    )
    found = compare_folders(first, second)
    assert {one.policy for one in found.comparisons} == {"a"}
    assert of(found.comparisons, "a").seeds == 7
    assert of(found.comparisons, "a").unpaired == 13
    assert of(found.comparisons, "a").difference == pytest.approx(1.0, abs=0.3)
    assert found.left_out == {"b": "has 2 seeds in common, and 3 are the least"}


def test_what_met_other_frames_is_not_paired() -> None:
    first, second = results(a=rows(0.0)), Results("elsewhere", {"a": rows(0.0)}, {"a": "there"}, 200)
    with pytest.raises(ConfigurationError, match="cannot be compared: a played in another world"):
        compare_folders(first, second)
    with pytest.raises(ConfigurationError, match="there is no policy to compare"):
        compare_folders(first, results(b=rows(0.0)))


def test_a_figure_that_means_something_else_there_is_not_compared() -> None:
    one = Results("here", {"a": rows(0.0, figure="later_mean_ms")}, {"a": "w"}, 200)
    other = Results("there", {"a": rows(1.0, figure="later_mean_ms")}, {"a": "w"}, 300)
    assert {each.figure for each in compare_folders(one, one).comparisons} == {"later_mean_ms", "messages"}
    assert {each.figure for each in compare_folders(one, other).comparisons} == {"messages"}


def test_a_policy_that_is_not_there_is_said() -> None:
    both = results(a=rows(0.0), b=rows(0.0))
    with pytest.raises(ConfigurationError, match="no policy 'c' in somewhere: choose from a, b"):
        compare_with(both, "c")
    with pytest.raises(ConfigurationError, match="no policy 'b' in both"):
        compare_folders(both, results(a=rows(0.0)), ["b"])


@pytest.mark.parametrize(
    "text", ["{}", "[]", "no", json.dumps({"by_seed": {"a": 3}, "provenance": {"worlds": {}}})]
)
def test_a_summary_that_cannot_be_compared_is_said(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read .*summary.json"):
        read_results(tmp_path)
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(ConfigurationError, match="holds no figures of each seed"):
        read_results(tmp_path)
