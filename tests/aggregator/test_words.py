"""What a group knows, in words: the truth that was put in comes out, and what cannot be known is not said."""

from typing import Any

import msgspec
import numpy as np
import pytest

from aggregator.changes import Changes
from aggregator.keys import GroupKey
from aggregator.sentences import phrases
from aggregator.words import describe
from bandits.statistics import Statistics
from bus.messages import Columns, GroupParameters, GroupWords
from bus.topics import WORDS
from bus.wire import decode, encode
from tests.support.played_group import COLUMNS, DEVICE_ONLY, REGULARISATION, Truth, parameters_of, played

TRUTH = Truth()
TRUE = {
    "device": ("device_ms", TRUTH.device_ms),
    "encode": ("encode_ms", TRUTH.encode_ms),
    "edge": ("edge_ms", TRUTH.edge_ms - TRUTH.fixed_ms),
    "wait": ("wait_ms", TRUTH.wait_ms + TRUTH.fixed_ms),
    "away": ("away_ms", TRUTH.edge_ms + TRUTH.wait_ms),
    "link": ("link_mbit_per_s", TRUTH.link_mbit_per_s),
}


def words_of(parameters: GroupParameters, columns: Columns | None = COLUMNS) -> GroupWords:
    return describe(parameters, columns, REGULARISATION)


def ends(words: GroupWords, name: str) -> tuple[Any, Any, Any]:
    """Estimate, low and high of a quantity; None for what is not known."""
    unit = TRUE[name][0].partition("_")[2]
    return tuple(getattr(words, f"{name}{end}_{unit}") for end in ("", "_low", "_high"))


def inside(seeds: int, names: tuple[str, ...], **changes: Any) -> dict[str, float]:
    """Share of seeds whose interval holds the truth, by quantity; every one must have an interval."""
    held = dict.fromkeys(names, 0)
    for seed in range(seeds):
        words = words_of(played(seed, **changes))
        for name in names:
            estimate, low, high = ends(words, name)
            assert estimate is not None, name
            assert low <= estimate <= high
            held[name] += low <= TRUE[name][1] <= high
    return {name: count / seeds for name, count in held.items()}


# Four standard deviations of a binomial of 200.
NEAR_95 = pytest.approx(0.95, abs=0.062)


def test_intervals_of_what_is_sent_hold_the_truth_in_about_95_of_100() -> None:
    """The noise is theirs alone, and counted as theirs alone."""
    names = ("edge", "wait", "away", "link")
    held = inside(200, names, device_noise_s=1e-5, rest_noise_s=0.01)
    assert held == dict.fromkeys(names, NEAR_95)


def test_intervals_of_the_device_hold_the_truth_in_about_95_of_100() -> None:
    arms = (DEVICE_ONLY, 3, 10, 20, 30)
    held = inside(200, ("device",), arms=arms, rest_noise_s=1e-5, device_noise_s=0.02, frames=400)
    assert held == {"device": NEAR_95}


@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize("device_noise_s", [0.002, 0.02])
def test_however_noise_is_shared_the_intervals_are_not_too_narrow(split: bool, device_noise_s: float) -> None:
    held = inside(40, ("device", "away", "link"), split=split, device_noise_s=device_noise_s)
    assert min(held.values()) >= 0.85


def test_where_little_is_sent_the_device_is_known_and_nothing_else() -> None:
    words = words_of(played(1, arms=(DEVICE_ONLY,)))
    assert words.device_ms == pytest.approx(TRUTH.device_ms, rel=0.01)
    assert words.sent == 0
    for name in ("encode", "edge", "wait", "away", "link"):
        assert ends(words, name) == (None, None, None), name
    assert words.text.count("not known") == 5


def test_one_arm_alone_tells_no_party_from_another() -> None:
    words = words_of(played(2, arms=(1,)))
    assert words.sent == 600
    assert all(ends(words, name) == (None, None, None) for name in ("edge", "wait", "away", "link"))
    # The frame is sent as it is: the device has done nothing, and is not said to be fast.
    assert words.device_ms is None


def test_a_group_without_rows_knows_nothing() -> None:
    words = words_of(parameters_of(Statistics.ridge(len(COLUMNS.names), REGULARISATION)))
    assert (words.count, words.sent) == (0, 0)
    assert all(ends(words, name) == (None, None, None) for name in TRUE)


def test_a_link_that_each_device_measures_is_said_to_be_so() -> None:
    measured = msgspec.structs.replace(COLUMNS, link="measured")
    words = words_of(played(3, link=False), measured)
    assert ends(words, "link") == (None, None, None)
    assert words.away_ms == pytest.approx(TRUTH.edge_ms + TRUTH.wait_ms, rel=0.2)
    said = {phrase.what: phrase.estimate for phrase in phrases(words)}
    assert said["link, from a device"] == "measured by each device"
    assert "server wait" in said
    assert "round trip and server wait" not in said


def test_without_a_word_about_columns_only_what_needs_none_is_said() -> None:
    words = words_of(played(4), None)
    assert phrases(words) == []
    assert (words.link, words.count > 0, words.device_ms) == ("", True, None)
    assert words.text.startswith("no member has said what the columns mean; from ")


def test_columns_that_ask_nothing_we_know_of_are_answered_with_nothing() -> None:
    strange = Columns(names=tuple(f"spin.{n}" for n in range(len(COLUMNS.names))), input_elements=1)
    words = words_of(played(5), strange)
    assert all(ends(words, name) == (None, None, None) for name in TRUE)
    assert words.sent == 0


def _two_columns(names: tuple[str, str], cost_s: float, noise_s: float, rows: int = 200) -> GroupWords:
    """What is said of rows of all amounts of the first column and 1 in the second, which is free."""
    rng = np.random.default_rng(6)
    amounts = rng.random(rows)
    sums = Statistics.ridge(2, REGULARISATION).add_rows(
        np.column_stack([amounts, np.ones(rows)]), amounts * cost_s + rng.normal(0.0, noise_s, rows)
    )
    return words_of(parameters_of(sums), Columns(names=names, input_elements=1_000_000))


DEVICE, LINK = ("front.conv_macs", "encode.elements"), ("link.bits", "offload")


def test_times_are_not_below_zero_and_an_impossible_one_is_not_known() -> None:
    small = _two_columns(DEVICE, 0.0001, 0.01)
    assert small.device_low_ms == 0.0
    assert small.device_ms is not None
    assert small.device_high_ms is not None
    assert 0.0 <= small.device_ms <= small.device_high_ms < 10.0
    assert _two_columns(DEVICE, -0.5, 0.001).device_ms is None
    assert _two_columns(DEVICE, 0.1, 1.0, rows=8).device_ms is None  # it might be anything
    assert _two_columns(DEVICE, 1e7, 1.0).device_ms is None  # beyond what the wire can say


def test_a_link_too_fast_to_be_seen_has_a_lowest_rate_only() -> None:
    words = _two_columns(LINK, 0.0, 0.01)
    assert words.link_high_mbit_per_s is None
    assert words.link_low_mbit_per_s is not None
    link = next(phrase for phrase in phrases(words) if phrase.what.startswith("link"))
    assert link.estimate.startswith("at least ")
    assert link.interval == ""


def test_seconds_become_megabits_by_the_frame_and_not_by_the_network() -> None:
    words = _two_columns(LINK, 2.0, 0.001)
    assert words.link_mbit_per_s == pytest.approx(8.0 / 2.0, rel=1e-3)
    assert words.link_low_mbit_per_s is not None
    assert words.link_low_mbit_per_s < 4.0


def test_the_text_reads_like_this_and_fits_the_wire() -> None:
    words = GroupWords(
        group="phone",
        model="0" * 16,
        schema="1" * 16,
        origin="2" * 16,
        version=9,
        members=1,
        count=1617,
        sent=777,
        link="learned",
        device_ms=240.5,
        device_low_ms=9.987,
        device_high_ms=1234.5,
        wait_ms=0.0,
        wait_low_ms=0.0,
        wait_high_ms=0.04321,
        link_mbit_per_s=8.14,
        link_low_mbit_per_s=7.7,
        link_high_mbit_per_s=8.6,
    )
    assert [str(phrase) for phrase in phrases(words)] == [
        "device, whole network: 240 ms (9.99 to 1234)",
        "device, encoding a frame: not known",
        "edge worker, what a cut can move: not known",
        "round trip and server wait: 0 ms (0 to 0.043)",
        "edge worker and wait, whole network: not known",
        "link, from a device: 8.14 Mbit/s (7.70 to 8.60)",
    ]
    said = words_of(played(7))
    assert said.text.endswith("of 3 devices, version 9")
    assert decode(WORDS, encode(WORDS, said)) == said


def test_a_version_keeps_the_time_when_it_was_new() -> None:
    changes, key = Changes(), GroupKey("phone", "0" * 16, "1" * 16, 2)
    first = changes.since(key, 1, 0.0)
    assert first == "1970-01-01T00:00:00+00:00"
    assert changes.since(key, 1, 60.0) == first
    assert changes.since(key, 2, 60.9) == "1970-01-01T00:01:00+00:00"
