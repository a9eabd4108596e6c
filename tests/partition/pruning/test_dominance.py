"""Pruning against a dense grid: what is dropped is nowhere best, what stays is, proofs are proofs."""

import dataclasses
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.errors import ConfigurationError
from partition.arms import Arm
from partition.profiles.costs import costs_of_profile
from partition.pruning.arm_costs import ArmCosts, Ranges
from partition.pruning.best_map import best_map, in_words, log_axis, middle_gain, stretches
from partition.pruning.dominance import Point, coefficients, holds, surviving

RANGES = Ranges(rate=(1e5, 1e8), speedup=(1.0, 50.0), wait_s=(0.0, 0.1))


def costs(*rows: tuple[float, float, float]) -> ArmCosts:
    """Front seconds, bytes, edge seconds; an arm without bytes and edge seconds stays on the device."""
    front, sent, edge = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    labels = tuple(f"arm {index}" for index in range(len(rows)))
    return ArmCosts(labels, front, sent, edge, (sent > 0.0) | (edge > 0.0))


@st.composite
def networks(draw: st.DrawFn) -> ArmCosts:
    """A device-only arm, and others that leave some of its work to the edge, with bytes of any size."""
    whole = draw(st.floats(1e-3, 2.0))
    rows = [(whole, 0.0, 0.0)]
    for _ in range(draw(st.integers(0, 9))):
        share = draw(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9]))
        extra = draw(st.sampled_from([0.0, 0.0, 0.01, 0.2]))
        rows.append((whole * (share + extra), draw(st.floats(1.0, 1e6)), whole * (1.0 - share)))
    if draw(st.booleans()):
        rows += rows[-2:]  # equal arms
    return costs(*draw(st.permutations(rows)))


@st.composite
def boxes(draw: st.DrawFn) -> Ranges:
    def span(low: float, high: float) -> tuple[float, float]:
        ends = sorted((draw(st.floats(low, high)), draw(st.floats(low, high))))
        return (ends[0], ends[0] if draw(st.integers(0, 3)) == 0 else ends[1])

    return Ranges(span(1e4, 1e9), span(1.0, 100.0), span(0.0, 0.5))


def grid(box: Ranges) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    axes = (np.geomspace(*box.rate, 17), np.geomspace(*box.speedup, 17), np.linspace(*box.wait_s, 5))
    return np.meshgrid(*axes)


@given(arms=networks(), box=boxes(), tolerance=st.sampled_from([0.0, 0.01, 0.05, 0.5]))
def test_a_dropped_arm_is_outside_the_tolerance_everywhere(
    arms: ArmCosts, box: Ranges, tolerance: float
) -> None:
    pruned = surviving(arms, box, tolerance=tolerance)
    latency = arms.latency_s(*grid(box))
    best_kept = latency[..., pruned.arms].min(axis=-1)
    assert best_kept == pytest.approx(latency.min(axis=-1), rel=1e-12)  # the oracle loses nothing
    for proof in pruned.dropped:
        assert (latency[..., proof.arm] >= (1.0 + tolerance) * best_kept * (1.0 - 1e-12)).all()


@given(arms=networks(), box=boxes(), tolerance=st.sampled_from([0.0, 0.05]))
def test_an_arm_that_stays_is_as_good_as_it_says_where_it_says(
    arms: ArmCosts, box: Ranges, tolerance: float
) -> None:
    for kept in surviving(arms, box, tolerance=tolerance).kept:
        _require_within(kept.at, box)
        latency = arms.latency_s(kept.at.rate, kept.at.speedup, kept.at.wait_s)
        others = np.delete(latency, kept.arm)
        excess = latency[kept.arm] / others.min() - 1.0 if others.size else -1.0
        assert kept.excess == pytest.approx(excess, abs=1e-9)
        assert kept.excess <= tolerance + 1e-6


@given(arms=networks(), box=boxes(), tolerance=st.sampled_from([0.0, 0.05]))
def test_each_proof_holds_by_arithmetic_alone_and_names_arms_that_stay(
    arms: ArmCosts, box: Ranges, tolerance: float
) -> None:
    pruned = surviving(arms, box, tolerance=tolerance)
    table = [[Fraction(float(number)) for number in row] for row in coefficients(arms, box)]
    for proof in pruned.dropped:
        assert holds(proof, arms, box, tolerance)
        assert set(proof.rivals) <= set(pruned.arms)
        weights = [Fraction(weight) for weight in proof.weights]
        # All eight corners, where holds() looks at one: linear functions are greatest at a corner.
        for corner in itertools.product((0, 1), repeat=3):
            at = [row[0] + sum(a * x for a, x in zip(row[1:], corner, strict=True)) for row in table]
            mean = sum(w * at[rival] for w, rival in zip(weights, proof.rivals, strict=True)) / sum(weights)
            assert mean * (1 + Fraction(tolerance)) <= at[proof.arm]
        _require_within(proof.tightest, box)
        there = arms.latency_s(proof.tightest.rate, proof.tightest.speedup, proof.tightest.wait_s)
        assert there[proof.arm] - there[proof.faster] == pytest.approx(proof.margin_s, abs=1e-9)
        assert proof.margin >= tolerance - 1e-6


@given(arms=networks(), box=boxes())
def test_one_arm_alone_beats_fewer_than_all_together_do(arms: ArmCosts, box: Ranges) -> None:
    alone = surviving(arms, box, rule="single")
    together = surviving(arms, box)
    assert set(together.arms) <= set(alone.arms)
    assert all(len(proof.rivals) == 1 for proof in alone.dropped)


@given(arms=networks(), box=boxes())
def test_more_tolerance_and_wider_ranges_keep_more(arms: ArmCosts, box: Ranges) -> None:
    strict = set(surviving(arms, box, tolerance=0.01).arms)
    assert strict <= set(surviving(arms, box, tolerance=0.1).arms)
    wide = Ranges((box.rate[0] / 2, box.rate[1] * 2), (1.0, box.speedup[1] * 2), (0.0, box.wait_s[1] + 0.1))
    assert strict <= set(surviving(arms, wide, tolerance=0.01).arms)


def test_an_arm_may_be_beaten_here_by_one_and_there_by_another() -> None:
    # Between staying and sending everything: never the best of the three, and neither beats it alone.
    arms = costs((1.0, 0.0, 0.0), (0.6, 40_000.0, 0.6), (0.0, 50_000.0, 1.0))
    box = Ranges((1e5, 1e8), (2.0, 50.0), (0.0, 0.0))
    assert surviving(arms, box, tolerance=0.0, rule="single").arms == (0, 1, 2)
    pruned = surviving(arms, box, tolerance=0.0)
    assert pruned.arms == (0, 2)
    assert pruned.dropped[0].rivals == (0, 2)
    assert pruned.dropped[0].margin > 0.0


def test_of_equal_arms_the_first_stays_and_with_a_tolerance_all_do() -> None:
    arms = costs((1.0, 0.0, 0.0), (0.1, 1000.0, 0.9), (0.1, 1000.0, 0.9), (1.0, 0.0, 0.0))
    pruned = surviving(arms, RANGES, tolerance=0.0)
    assert pruned.arms == (0, 1)
    assert [(proof.arm, proof.rivals, proof.margin) for proof in pruned.dropped] == [
        (2, (1,), 0.0),
        (3, (0,), 0.0),
    ]
    # That two measurements agree to the bit is chance: neither rules the other out.
    assert surviving(arms, RANGES, tolerance=0.05).arms == (0, 1, 2, 3)


def test_an_arm_just_inside_the_tolerance_stays_and_one_just_outside_goes() -> None:
    arms = costs((1.0, 0.0, 0.0), (1.0499, 0.0, 0.0), (1.0501, 0.0, 0.0))
    pruned = surviving(arms, RANGES, tolerance=0.05)
    assert pruned.arms == (0, 1)
    assert pruned.dropped[0].margin == pytest.approx(0.0501)
    assert pruned.dropped[0].margin_s == pytest.approx(0.0501)


def test_a_single_arm_stays() -> None:
    pruned = surviving(costs((1.0, 0.0, 0.0)), RANGES)
    assert pruned.arms == (0,)
    assert pruned.dropped == ()


def test_ranges_without_width_leave_the_fastest_arm() -> None:
    arms = costs((1.0, 0.0, 0.0), (0.0, 1e5, 1.0), (0.5, 1e4, 0.5))
    point = Ranges((1e6, 1e6), (10.0, 10.0), (0.01, 0.01))
    pruned = surviving(arms, point, tolerance=0.0)
    assert pruned.arms == (int(np.argmin(arms.latency_s(1e6, 10.0, 0.01))),)
    assert pruned.kept[0].at == Point(1e6, 10.0, 0.01)


def test_arms_that_take_no_time_at_all_stay() -> None:
    assert surviving(costs((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)), RANGES).arms == (0, 1)
    pruned = surviving(costs((0.0, 0.0, 0.0), (1.0, 0.0, 0.0)), RANGES)
    assert pruned.arms == (0,)
    assert pruned.dropped[0].margin == math.inf


def test_a_proof_of_something_else_does_not_hold() -> None:
    arms = costs((1.0, 0.0, 0.0), (0.1, 1000.0, 0.9), (2.0, 0.0, 0.0))
    proof = surviving(arms, RANGES).dropped[0]
    assert proof.arm == 2
    assert holds(proof, arms, RANGES, 0.05)
    assert not holds(dataclasses.replace(proof, arm=0), arms, RANGES, 0.05)
    assert not holds(dataclasses.replace(proof, weights=(-1.0,)), arms, RANGES, 0.05)
    assert not holds(dataclasses.replace(proof, weights=(0.0,)), arms, RANGES, 0.05)
    assert not holds(proof, arms, RANGES, 1.01)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
@pytest.mark.parametrize("part", ["front_s", "payload_bytes", "edge_s"])
def test_costs_that_no_arm_has_are_refused_by_name(part: str, bad: float) -> None:
    good = costs((1.0, 0.0, 0.0), (0.1, 1000.0, 0.9))
    with pytest.raises(ConfigurationError, match=r"arm arm 1 costs .* profile again"):
        dataclasses.replace(good, **{part: np.array([0.0, bad])})  # type: ignore[arg-type] # one of the arrays


def test_costs_that_do_not_fit_together_are_refused() -> None:
    good = costs((1.0, 0.0, 0.0), (0.1, 1000.0, 0.9))
    with pytest.raises(ConfigurationError, match="one number an arm"):
        dataclasses.replace(good, edge_s=np.zeros(3))
    with pytest.raises(ConfigurationError, match="at least one arm"):
        ArmCosts((), np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0, dtype=bool))
    with pytest.raises(ConfigurationError, match="arm 1 offloads nothing"):
        dataclasses.replace(good, offload=np.array([False, False]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rate": (0.0, 1e6)}, "rate above 0"),
        ({"rate": (1e6, 1e5)}, "smaller one first"),
        ({"rate": (1e5, math.inf)}, "two finite numbers"),
        ({"speedup": (0.5, 2.0)}, "slower than the device"),
        ({"speedup": (1.0, math.nan)}, "two finite numbers"),
        ({"wait_s": (-0.1, 0.0)}, "wait of 0 s or more"),
    ],
)
def test_ranges_that_are_none_are_refused(change: dict[str, tuple[float, float]], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        dataclasses.replace(RANGES, **change)


@pytest.mark.parametrize("tolerance", [-0.1, math.nan, math.inf])
def test_a_tolerance_that_is_none_is_refused(tolerance: float) -> None:
    with pytest.raises(ConfigurationError, match="tolerance"):
        surviving(costs((1.0, 0.0, 0.0)), RANGES, tolerance=tolerance)


def test_costs_come_from_a_profile() -> None:
    class Stopwatch:
        def device_ms(self, arm: Arm) -> float:
            return 10.0 + arm.index

        def edge_ms(self, arm: Arm) -> float:
            return 5.0 - arm.index

    arms = (Arm(0, 0, "jpeg", "0/jpeg"), Arm(1, 1, "none", "end/none"))
    found = costs_of_profile(arms, Stopwatch(), [1000.0, 0.0])
    assert found.labels == ("0/jpeg", "end/none")
    assert found.front_s.tolist() == [0.010, 0.011]
    assert found.edge_s.tolist() == [0.005, 0.0]
    assert found.offload.tolist() == [True, False]


def _require_within(at: Point, box: Ranges) -> None:
    assert box.rate[0] * (1 - 1e-9) <= at.rate <= box.rate[1] * (1 + 1e-9)
    assert box.speedup[0] * (1 - 1e-9) <= at.speedup <= box.speedup[1] * (1 + 1e-9)
    assert box.wait_s[0] - 1e-9 <= at.wait_s <= box.wait_s[1] + 1e-9


RATES, SPEEDUPS = np.geomspace(1e5, 1e8, 31), np.geomspace(1.0, 50.0, 21)
SPLIT = costs((1.0, 0.0, 0.0), (0.0, 1e5, 1.0), (0.3, 1e4, 0.7))


def test_the_map_names_the_fastest_and_the_lead_over_the_second() -> None:
    found = best_map(SPLIT, RATES, SPEEDUPS, wait_s=0.02)
    for row, column in itertools.product(range(0, 21, 5), range(0, 31, 5)):
        latency = SPLIT.latency_s(RATES[column], SPEEDUPS[row], 0.02)
        best, second = np.sort(latency)[:2]
        assert found.winners[row, column] == np.argmin(latency)
        assert found.latency_s[row, column] == pytest.approx(best)
        assert found.margin[row, column] == pytest.approx(second / best - 1.0)
    assert found.area.sum() == pytest.approx(1.0)
    assert sum(found.shares().values()) == pytest.approx(1.0)
    assert list(found.shares().values()) == sorted(found.shares().values(), reverse=True)


def test_a_share_is_that_of_the_logarithmic_map_whatever_the_grid() -> None:
    # Which wins does not depend on the speed-up: at 1 s against 1e5 bytes it turns at 0.8 Mbit/s.
    arms = costs((1.0, 0.0, 0.0), (0.0, 1e5, 0.0))
    uneven = np.unique(np.concatenate([np.geomspace(1e5, 1e6, 400), np.geomspace(1e6, 1e8, 100)]))
    share = math.log(0.8e6 / 1e5) / math.log(1e8 / 1e5)
    assert best_map(arms, uneven, SPEEDUPS).shares()[0] == pytest.approx(share, abs=2e-3)


def test_points_too_close_for_a_logarithm_share_the_map() -> None:
    found = best_map(SPLIT, [18.0, math.nextafter(18.0, 19.0)], [1.0])
    assert found.area.tolist() == [[0.5, 0.5]]


def test_a_map_of_one_point_and_one_arm() -> None:
    found = best_map(costs((1.0, 0.0, 0.0)), [1e6], [2.0])
    assert found.shares() == {0: 1.0}
    assert found.margin.tolist() == [[math.inf]]


@given(arms=networks(), box=boxes())
def test_the_map_shows_only_arms_that_stay(arms: ArmCosts, box: Ranges) -> None:
    rates, speedups = log_axis(*box.rate, 9), log_axis(*box.speedup, 7)
    found = best_map(arms, rates, speedups, box.wait_s[0])
    assert set(found.shares()) <= set(surviving(arms, box, tolerance=1e-9).arms)


def test_what_the_middle_gains_is_stated_with_its_place() -> None:
    found = best_map(SPLIT, RATES, SPEEDUPS)
    gain = middle_gain(SPLIT, found, ends=(0, 1))
    assert gain.arm == 2
    assert gain.largest == pytest.approx(1.0 - gain.middle_s / gain.end_s)
    latency = SPLIT.latency_s(gain.rate, gain.speedup, 0.0)
    assert (gain.middle_s, gain.end_s) == pytest.approx((latency[2], latency[:2].min()))
    assert gain.share == pytest.approx(found.shares()[2])
    assert 0.0 < gain.share < 1.0


def test_a_middle_that_never_wins_is_told_as_a_loss() -> None:
    arms = costs((1.0, 0.0, 0.0), (1.0, 1e6, 0.9))
    gain = middle_gain(arms, best_map(arms, RATES, SPEEDUPS), ends=[0])
    assert gain.share == 0.0
    assert gain.largest < 0.0


@pytest.mark.parametrize("ends", [(), (0, 1, 2), (7,)])
def test_ends_that_leave_nothing_to_compare_are_refused(ends: tuple[int, ...]) -> None:
    with pytest.raises(ConfigurationError, match="ends"):
        middle_gain(SPLIT, best_map(SPLIT, RATES, SPEEDUPS), ends)


@pytest.mark.parametrize(
    ("rates", "speedups", "wait_s"),
    [
        ([], [1.0], 0.0),
        ([2.0, 1.0], [1.0], 0.0),
        ([1.0], [0.0], 0.0),
        ([1.0], [math.inf], 0.0),
        ([1.0], [1.0], -1.0),
    ],
)
def test_axes_that_are_none_are_refused(rates: list[float], speedups: list[float], wait_s: float) -> None:
    with pytest.raises(ConfigurationError, match=r"map|wait"):
        best_map(SPLIT, rates, speedups, wait_s)


@settings(max_examples=200)
@given(arms=networks(), box=boxes())
def test_stretches_cover_all_rates_and_name_the_fastest(arms: ArmCosts, box: Ranges) -> None:
    speedup, wait_s = box.speedup[0], box.wait_s[1]
    found = stretches(arms, box.rate, speedup, wait_s)
    assert found[0].low == pytest.approx(box.rate[0])
    assert found[-1].high == pytest.approx(box.rate[1])
    for one, after in itertools.pairwise(found):
        assert one.high == after.low
        assert one.arm != after.arm
    for one in found:
        assert one.low <= one.high
        for rate in np.geomspace(one.low, one.high, 5):
            latency = arms.latency_s(rate, speedup, wait_s)
            assert latency[one.arm] == pytest.approx(latency.min(), rel=1e-9)


def test_stretches_in_words() -> None:
    arms = costs((1.0, 0.0, 0.0), (0.0, 1e5, 1.0))
    assert in_words(stretches(arms, (1e5, 8e6), 2.0), arms.labels, 2.0) == [
        "arm 0: best from 0.1 to 1.6 Mbit/s at speed-up 2",
        "arm 1: best from 1.6 to 8 Mbit/s at speed-up 2",
    ]
