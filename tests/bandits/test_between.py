"""What lies between device and answer: whose fault a wait was, and how fast it is forgotten."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandits.between import Between
from bandits.fedlinucb import FedLinUCBDW
from bandits.link_estimate import LinkEstimate, LinkSettings
from bandits.policy import Cost, LinkCheck
from bandits.settings import PRACTICE, Settings

SMALL = 0.005  # units of a check; a frame is one
QUICK, SLOW = LinkCheck(SMALL, 0.02), LinkCheck(SMALL, 0.5, at_least=True)


def settled(seconds: float = 0.12) -> Between:
    """A link of 20 ms and 100 ms a unit, seen often; frames and checks."""
    between = Between(LinkSettings())
    for _ in range(60):
        between.pass_time()
        between.answered(1.0, seconds)
        between.checked(QUICK)
    return between


def cost_s(between: Between, units: float = 1.0) -> float:
    return float(between.predict(np.array([units]))[0][0])


def test_a_wait_that_a_slow_check_follows_is_the_links_and_a_quick_one_ends_it() -> None:
    between = settled()
    between.waited(1.0, 0.7)
    between.checked(SLOW)
    assert between.beyond_s == 0.0
    assert cost_s(between) > 0.25
    for _ in range(2):
        between.pass_time()
        between.stayed()
        between.checked(QUICK)
    assert cost_s(between) < 0.25


def test_a_wait_that_a_quick_check_follows_is_beyond_the_link() -> None:
    between, untouched = settled(), settled()
    between.waited(1.0, 0.7)
    assert cost_s(between) > 0.25  # while nobody knows, the link is to blame
    between.checked(QUICK)
    untouched.checked(QUICK)
    assert between.expected_s(1.0) == untouched.expected_s(1.0)
    assert between.beyond_s == pytest.approx(0.3 * (0.7 - 0.12), rel=0.1)
    again = [between.beyond_s]
    for _ in range(3):
        between.waited(1.0, 0.7)
        between.checked(QUICK)
        again.append(between.beyond_s)
    assert again == sorted(again)
    assert again[-1] < 0.58  # never more than was waited
    for _ in range(30):
        between.pass_time()
        between.stayed()
    assert between.beyond_s < 0.03


def test_a_link_that_comes_back_is_what_it_was_at_once() -> None:
    """A slow check settles whose fault the wait was; a quick one later, that it is over."""
    between = settled()
    usual_s = between.expected_s(1.0)
    between.waited(1.0, 0.7)
    for _ in range(12):
        between.pass_time()
        between.stayed()
        between.checked(LinkCheck(SMALL, 0.4))
    assert between.expected_s(1.0) > 3.0 * usual_s
    between.pass_time()
    between.stayed()
    between.checked(QUICK)
    assert between.expected_s(1.0) == pytest.approx(usual_s, rel=0.1)
    assert between.beyond_s == 0.0  # nobody else was to blame


def test_a_link_that_was_never_seen_well_is_believed_when_it_is() -> None:
    """The first frame of all waits in vain: small checks cannot tell a slow round trip from a low rate."""
    between = Between(LinkSettings())
    at_first_s = between.expected_s(1.0)
    between.waited(1.0, 1.4)
    between.checked(LinkCheck(0.0133, 0.38))
    between.checked(LinkCheck(0.0133, 0.035))
    assert between.expected_s(1.0) < 2.0 * at_first_s


def test_what_has_been_waited_for_in_vain_is_believed_to_take_longer_still() -> None:
    between = settled()
    between.waited(1.0, 0.4)
    assert between.expected_s(1.0) == pytest.approx(0.8, rel=0.1)


def test_a_check_that_has_hardly_begun_says_nothing() -> None:
    between = settled()
    between.waited(1.0, 0.7)
    blamed = between.dump()
    for early_s in (0.001, 0.021):  # the latter is late for a link that is well, and proves nothing else
        between.checked(LinkCheck(SMALL, early_s, at_least=True))
        assert str(between.dump()) == str(blamed)
    between.checked(QUICK)  # the next one still may
    assert between.beyond_s > 0.0


def test_an_answer_ends_the_question_and_says_how_long_it_waited_for_a_worker() -> None:
    between = settled()
    between.waited(1.0, 0.7)
    between.answered(1.0, 0.12)
    between.checked(QUICK)
    assert between.beyond_s == 0.0
    for _ in range(20):
        between.pass_time()
        between.answered(1.0, 0.12, 0.08)
    assert between.beyond_s == pytest.approx(0.08, rel=0.01)
    assert between.expected_s(1.0) == pytest.approx(0.12, rel=0.1)


def test_a_question_that_stays_open_is_worth_ever_less_and_ends_with_a_restart() -> None:
    between = settled()
    between.waited(1.0, 0.7)
    restarted = Between(LinkSettings())
    restarted.load(between.dump())
    restarted.checked(QUICK)
    assert restarted.beyond_s == 0.0
    for _ in range(60):
        between.pass_time()
        between.stayed()
    between.checked(QUICK)
    assert between.beyond_s < 0.001


def test_a_refusal_says_that_the_link_is_clear() -> None:
    between, untouched = settled(), settled()
    between.waited(1.0, 0.7)
    between.refused(0.3)
    assert between.expected_s(1.0) == untouched.expected_s(1.0)


def test_a_refusal_is_beyond_the_link_at_once() -> None:
    between, untouched = settled(), settled()
    between.refused(0.3)
    assert between.expected_s(1.0) == untouched.expected_s(1.0)
    assert between.beyond_s > 0.25
    before = between.beyond_s
    between.refused(0.1)
    assert between.beyond_s == before


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["answered", "waited", "refused", "stayed", "check", "bound"]), st.floats(0, 1e6)
        ),
        max_size=40,
    )
)
def test_whatever_happens_it_stays_finite_and_goes_through_a_dump(story: list[tuple[str, float]]) -> None:
    between = Between(LinkSettings())
    for what, seconds in story:
        between.pass_time()
        match what:
            case "answered":
                between.answered(1.0, seconds, min(seconds, 0.1))
            case "waited":
                between.waited(1.0, seconds)
            case "refused":
                between.refused(seconds)
            case "stayed":
                between.stayed()
            case _:
                between.checked(LinkCheck(SMALL, seconds, at_least=what == "bound"))
    mean_s, spread_s = between.predict(np.array([0.1, 1.0]))
    assert np.isfinite(mean_s).all()
    assert (mean_s > 0.0).all()
    assert np.isfinite(spread_s).all()
    other = Between(LinkSettings())
    other.load(between.dump())
    assert str(other.dump()) == str(between.dump())


def test_states_and_checks_that_are_none_are_refused() -> None:
    link = LinkEstimate()
    link.observe(1.0, 3.0)
    between = Between(LinkSettings())
    between.load(link.dump())  # as a state of 0.1 holds it
    assert between.expected_s(1.0) == link.expected_s(1.0)
    with pytest.raises(ValueError, match="is none"):
        between.load({**between.dump(), "beyond_s": math.nan})
    for units, seconds in ((0.0, 1.0), (1.0, -1.0), (1.0, math.inf), (math.nan, 1.0)):
        with pytest.raises(ValueError, match="is none"):
            LinkCheck(units, seconds)


# Columns: device, edge, link, offload. Arms: all sent, nothing.
X = np.array([[0.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0]])
DEVICE_S, EDGE_S, LINK_S = 0.1, 0.02, 0.03


def frames_until_it_is_back(*, checks: bool, outage: int) -> tuple[int, int]:
    """Frames waited for in vain in an outage, and frames played alone after its end."""
    policy = FedLinUCBDW((True, False, False, False), PRACTICE, link_column=2)
    in_vain = alone = 0
    for frame in range(60 + outage + 100):
        up = not 60 <= frame < 60 + outage
        arm = policy.select(X)
        if arm == 1:
            policy.update(1, Cost(DEVICE_S, DEVICE_S))
            alone += frame >= 60 + outage
        elif up:
            policy.update(0, Cost(LINK_S + EDGE_S, 0.0, LINK_S))
            if frame > 60 + outage:
                return in_vain, alone
        else:
            in_vain += 1
            policy.update(0, Cost(0.7 + DEVICE_S, 0.0, 0.7, censored=True))
        if checks and (arm == 1 or not up):
            policy.link_checked(LinkCheck(SMALL, LINK_S if up else 0.5, at_least=not up))
    raise AssertionError("it never came back")


def test_long_checks_are_wanted_from_an_answer_that_did_not_come_to_one_that_did() -> None:
    between = Between(LinkSettings())
    seen = [between.in_vain]
    between.waited(1.0, 0.7)
    between.checked(QUICK)
    seen.append(between.in_vain)
    between.answered(1.0, 0.03)
    seen.append(between.in_vain)
    between.waited(1.0, 0.7)
    between.refused(0.01)
    seen.append(between.in_vain)
    assert seen == [False, True, False, False]


@pytest.mark.parametrize(("settings", "wanted"), [(PRACTICE, True), (Settings(), False)])
def test_only_who_measures_a_link_wants_long_checks(settings: Settings, *, wanted: bool) -> None:
    policy = FedLinUCBDW((True, False, False, False), settings, link_column=2)
    policy.select(X)
    policy.update(0, Cost(0.8, 0.0, 0.7, censored=True))
    assert policy.wants_long_checks == wanted


def test_who_checks_its_link_waits_less_in_an_outage_and_is_back_sooner_after_it() -> None:
    blind, seeing = (
        frames_until_it_is_back(checks=False, outage=40),
        frames_until_it_is_back(checks=True, outage=40),
    )
    assert seeing[0] <= blind[0]
    assert seeing[1] <= blind[1]
    assert seeing[0] + seeing[1] < blind[0] + blind[1]
    assert seeing[1] <= 2


def test_only_who_measures_a_link_and_was_told_to_heeds_checks() -> None:
    heeding = FedLinUCBDW((True, False, False, False), PRACTICE, link_column=2)
    learned = FedLinUCBDW((True, False, False, False), Settings(link_checks=True), link_column=2)
    assert heeding.heeds_link_checks
    assert not learned.heeds_link_checks
    learned.link_checked(QUICK)
    assert learned.dump()["conditions"] is None


def alone_until_tried(between: Between, dear_s: float) -> int:
    """Let it stay alone until another try is believed to be worth it; return for how many frames."""
    frames = 0
    while between.beyond_s > dear_s:
        between.pass_time()
        between.stayed()
        frames += 1
    return frames


def test_a_queue_that_stays_is_tried_ever_less_often_and_one_that_goes_is_forgotten_as_fast() -> None:
    between = Between(LinkSettings())
    for _ in range(30):
        between.answered(1.0, 0.12, wait_s=0.1)
    gaps = []
    for _ in range(6):
        gaps.append(alone_until_tried(between, 0.05))
        between.answered(1.0, 0.12, wait_s=0.1)
    assert gaps[1:] == sorted(gaps[1:])
    assert 4 * gaps[1] < gaps[-1] <= 12 * gaps[1]  # however long it lasts
    for _ in range(12):
        between.answered(1.0, 0.12, wait_s=0.0)
    for _ in range(30):
        between.answered(1.0, 0.12, wait_s=0.1)
    assert alone_until_tried(between, 0.05) <= 2 * gaps[0]


def test_without_a_queue_time_alone_says_nothing_of_how_one_fades() -> None:
    between, other = Between(LinkSettings()), Between(LinkSettings())
    for _ in range(10):
        between.stayed()
        between.answered(1.0, 0.12)
    for each in (between, other):
        for _ in range(30):
            each.answered(1.0, 0.12, wait_s=0.1)
    assert alone_until_tried(between, 0.05) == alone_until_tried(other, 0.05)


def test_a_check_that_is_late_raises_the_question_before_anybody_waits() -> None:
    """A round trip of 20 ms and 100 ms a unit: a check of 13 thousandths is expected after 21 ms."""
    check = 0.013
    between = settled()
    assert between.ahead_s(check) == pytest.approx(4.0 * between.expected_s(check))
    before_s = cost_s(between)
    between.checked(LinkCheck(check, between.ahead_s(check), at_least=True))
    assert between.in_vain
    assert between.ahead_s(check) == 0.0
    assert cost_s(between) > 10.0 * before_s  # a rate that has fallen, as likely as a longer way
    between.checked(LinkCheck(check, 0.022))
    assert cost_s(between) == pytest.approx(before_s, rel=0.1)
    assert between.beyond_s == 0.0  # nobody has waited


def test_a_check_that_is_on_its_way_and_not_late_says_nothing_new() -> None:
    between, untouched = settled(), settled()
    between.checked(LinkCheck(0.013, 0.9 * between.expected_s(0.013), at_least=True))
    assert cost_s(between) == cost_s(untouched)
    assert not between.in_vain


def test_nobody_looks_ahead_over_a_link_whose_rate_is_unknown() -> None:
    between = Between(LinkSettings())
    for _ in range(5):
        between.answered(0.005, 0.02)
    assert between.unit_unknown
    assert between.ahead_s(0.013) == 0.0


def test_only_who_measures_a_link_looks_ahead() -> None:
    learned = FedLinUCBDW((True, False, False, False), Settings(), link_column=2)
    assert learned.ahead_s(0.013) == 0.0
