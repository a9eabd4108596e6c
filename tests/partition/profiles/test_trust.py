"""When a profile warns, and in which words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from partition.profiles.profile_file import Conditions, Segment, Timing
from partition.profiles.trust import doubts_of, drift_of
from tests.support.profiles import QUIET, timing

SEGMENTS = (
    Segment(name="a", start=0, stop=1, time=timing(18.0, 0.05)),
    Segment(name="b", start=1, stop=2, time=timing(2.0, 0.05)),
    Segment(name="tiny", start=2, stop=3, time=timing(0.1, 5.0)),
)


def said(
    conditions: Conditions = QUIET,
    *,
    whole: Timing | None = None,
    segments: tuple[Segment, ...] = SEGMENTS,
    repeats: int = 40,
) -> tuple[str, ...]:
    return doubts_of(whole or timing(20.0, 0.05), segments, conditions, cores=4, repeats=repeats)


def test_a_quiet_machine_is_trusted_whatever_a_segment_of_no_weight_does() -> None:
    assert said() == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"load_average": 3.5}, "busy before (load average 3.5 on 4 cores)"),
        ({"taken_share": 0.2}, "held the processor for 20% of the time"),
        ({"throttled": 2}, "throttled"),
        ({"governor": "powersave", "driver": "bcm2835"}, "governor powersave"),
        ({"on_battery": True}, "battery"),
        ({"network_drift": 0.2, "probe_drift": 0.1}, "grows hot became slower meanwhile: the network by 20%"),
        ({"network_drift": -0.2, "probe_drift": -0.1}, "the machine became faster"),
        ({"network_drift": 0.2, "probe_drift": 0.0}, "the network became slower by 20%"),
        ({"network_drift": 0.2, "probe_drift": -0.1}, "the network became slower by 20%"),
    ],
)
def test_what_disturbs_is_named(changes: dict[str, object], words: str) -> None:
    (sentence,) = said(replace(QUIET, **changes))
    assert words in sentence


@pytest.mark.parametrize(
    "changes",
    [
        {"load_average": 1.0},
        {"governor": "powersave", "driver": "intel_pstate"},
        {"governor": "schedutil"},
        {"network_drift": 0.04, "probe_drift": 0.3},
        {"frequency_mhz": (2000.0, 1000.0)},  # it idles: the network did not become slower
    ],
)
def test_what_is_usual_is_not(changes: dict[str, object]) -> None:
    assert said(replace(QUIET, **changes)) == ()


def test_a_clock_that_fell_while_the_network_slowed_is_said_beside_the_drift() -> None:
    slowed = replace(QUIET, network_drift=0.1, probe_drift=0.1, frequency_mhz=(1500.0, 1000.0))
    assert said(slowed)[1] == "the processor went from 1500 to 1000 MHz meanwhile"


def test_spread_is_said_of_the_whole_or_else_of_the_segments_that_matter() -> None:
    loose = (replace(SEGMENTS[0], time=timing(18.0, 0.5)), *SEGMENTS[1:])
    assert said(segments=loose) == ("the segment a spreads over 50% of its time",)
    (sentence,) = said(whole=timing(20.0, 0.4), segments=loose)
    assert "the whole network spreads over 40%" in sentence
    assert "too few" in said(repeats=3)[0]


@given(st.lists(st.floats(1.0, 100.0), min_size=3, max_size=60), st.floats(-0.5, 2.0))
def test_drift_is_that_of_the_last_third(rounds: list[float], drift: float) -> None:
    first = sorted(rounds)
    assert drift_of([5.0] * len(rounds)) == 0.0
    assert drift_of(first) >= 0.0 >= drift_of(first[::-1])
    third = len(rounds) // 3
    steps = [10.0] * third + [10.0] * (len(rounds) - 2 * third) + [10.0 * (1.0 + drift)] * third
    assert drift_of(steps) == pytest.approx(drift, abs=1e-4)


def test_nothing_has_no_drift_and_no_spread() -> None:
    assert drift_of([0.0, 0.0, 1.0]) == 0.0
    assert timing(0.0).spread == 0.0
