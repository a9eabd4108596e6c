"""Arms that are drawn, and how likely each was."""

import random

import pytest

from bus.errors import ConfigurationError
from device.exploration import Exploration
from device.limits import Limits


def test_nothing_is_drawn_where_nobody_asked_for_it() -> None:
    def draw() -> float:
        raise AssertionError("drawn")

    assert Exploration(0.0, draw).choose(3, 5) == (3, 0.0)


def test_arms_come_as_often_as_the_feedback_says() -> None:
    exploration = Exploration(0.2, random.Random(3).random)
    counts, likely = [0] * 5, [0.0] * 5
    for _ in range(50_000):
        arm, propensity = exploration.choose(3, 5)
        counts[arm] += 1
        likely[arm] = propensity
    assert likely == pytest.approx([0.04, 0.04, 0.04, 0.84, 0.04])
    assert [count / 50_000 for count in counts] == pytest.approx(likely, abs=0.005)


def test_the_end_of_the_range_is_an_arm_too() -> None:
    numbers = iter((0.0, 0.9999999999999999))
    arm, propensity = Exploration(1.0, lambda: next(numbers)).choose(0, 3)
    assert arm == 2
    assert propensity == pytest.approx(1.0 / 3.0)


def test_a_share_is_a_share() -> None:
    with pytest.raises(ConfigurationError, match=r"a share of 1\.5 cannot be explored"):
        Limits(explored=1.5)
