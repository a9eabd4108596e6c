"""The bound on what learning may cost a device."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandits.fedlinucb import FedLinUCBDW
from bandits.policy import Cost
from bandits.safety import Safety
from bandits.settings import Settings

# Columns: device, edge, link. Arms: all sent, half, nothing.
X = np.array([[0.0, 1.0, 1.0], [0.5, 0.5, 0.4], [1.0, 0.0, 0.0]])
FRONT = (True, False, False)


@given(
    st.lists(st.tuples(st.floats(0.001, 2.0), st.floats(0.0, 1.0)), min_size=1, max_size=60),
    st.floats(0.0, 1.0),
    st.floats(0.5, 20.0),
)
def test_every_stretch_of_frames_costs_no_more_than_was_said(
    frames: list[tuple[float, float]], share: float, allowance: float
) -> None:
    """Costs below their upper bounds, a safe arm of 0.1 s, whatever is wanted."""
    safety, safe_s = Safety(share, allowance), 0.1
    spent: list[float] = []
    for upper_s, part in frames:
        cost_s = part * upper_s if safety.allows(upper_s, safe_s) else safe_s
        safety.played(cost_s, safe_s)
        spent.append(cost_s)
    for begin in range(len(spent)):
        for end in range(begin + 1, len(spent) + 1):
            bound_s = ((1.0 + share) * (end - begin) + allowance) * safe_s
            assert math.fsum(spent[begin:end]) <= bound_s + 1e-9


def played(settings: Settings, frames: int, *, link_s: float) -> tuple[list[int], FedLinUCBDW]:
    policy = FedLinUCBDW(FRONT, settings)
    device_s, rest_s = np.array([0.001, 0.05, 0.1]), np.array([1.0, 0.4, 0.0]) * link_s
    arms = []
    for _ in range(frames):
        arm = policy.select(X)
        arms.append(arm)
        policy.update(arm, Cost(float(device_s[arm] + rest_s[arm]), float(device_s[arm])))
    return arms, policy


def test_a_learner_that_must_be_safe_explores_less_and_still_finds_what_is_better() -> None:
    eager = Settings(beta_s=2.0, probe_after_frames=4, probe_largest_gap_frames=4)
    careful = Settings(
        beta_s=2.0, probe_after_frames=4, probe_largest_gap_frames=4, safety=0.02, safety_frames=2
    )
    dear = [played(each, 200, link_s=3.0)[0].count(2) for each in (eager, careful)]
    assert dear[1] > dear[0]
    cheap, policy = played(Settings(safety=0.1, probe_after_frames=4), 200, link_s=0.01)
    assert cheap[-50:].count(2) == 0
    again = FedLinUCBDW(FRONT, Settings(safety=0.1, probe_after_frames=4))
    again.load(policy.dump())
    assert again.dump()["safety"] == policy.dump()["safety"]
    FedLinUCBDW(FRONT, Settings()).load(policy.dump())


def test_where_no_arm_stays_on_the_device_there_is_nothing_to_be_safe_by() -> None:
    policy = FedLinUCBDW(FRONT, Settings(safety=0.0))
    arms = []
    for _ in range(5):
        arms.append(policy.select(X[:2]))
        policy.update(arms[-1], Cost(1.0, 0.1))
    assert set(arms) <= {0, 1}
    assert policy.dump()["safety"] == {"debt_s": 0.0}


def test_nonsense_is_refused() -> None:
    for bad in ((-0.1, 1.0), (0.1, 0.0), (math.inf, 1.0)):
        with pytest.raises(ValueError, match="safety"):
            Safety(*bad)
    with pytest.raises(ValueError, match="safety"):
        Settings(safety=-1.0)
    safety = Safety(0.1, 1.0)
    for debt_s in (-1.0, math.nan):
        with pytest.raises(ValueError, match="is none"):
            safety.load({"debt_s": debt_s})
    safety.played(1.0, 0.1)
    assert safety.debt_s == pytest.approx(0.89)
