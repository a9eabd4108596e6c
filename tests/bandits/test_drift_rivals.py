"""Rivals for costs that drift: what each forgets, when, and that it is nothing but LinUCB otherwise."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bandits.arrays import Matrix
from bandits.cusum import Cusum
from bandits.detector_linucb import DetectorLinUCB
from bandits.discounted_linucb import DiscountedLinUCB
from bandits.linucb import LinUCB
from bandits.player import PlayerSettings
from bandits.policy import Cost
from bandits.recent_frames import RecentFrames
from bandits.statistics import Statistics
from bandits.windowed_linucb import WindowedLinUCB

Rival = DiscountedLinUCB | WindowedLinUCB | DetectorLinUCB

# Columns: work on the device, work at the edge, units sent. Arms: all sent, half, nothing.
X = np.array([[0.0, 1.0, 1.0], [0.5, 0.5, 0.4], [1.0, 0.0, 0.0]])
DEVICE = [True, False, False]
BEFORE, AFTER = np.array([0.1, 0.02, 0.02]), np.array([0.1, 0.02, 0.3])
"""Seconds a unit: at first sending is best, then the link slows down and the device is."""

PLAIN = PlayerSettings(beta_s=0.3, feedback="total", probe_after_frames=None)
MEASURED = PlayerSettings(beta_noise=0.7, beta_prior=0.5, probe_after_frames=None)
KINDS: dict[str, Callable[..., Rival]] = {
    "discounted": DiscountedLinUCB,
    "windowed": WindowedLinUCB,
    "detector": DetectorLinUCB,
}
FORGETS_NOTHING: dict[str, dict[str, float]] = {
    "discounted": {"gamma": 1.0},
    "windowed": {"window_frames": 1000},
    "detector": {"threshold": 1e9},
}
all_kinds = pytest.mark.parametrize("kind", KINDS)


def rng(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


def cost_of(arm: int, theta: npt.NDArray[np.float64], noise: float = 0.0) -> Cost:
    device_s = float(X[arm, :1] @ theta[:1]) * math.exp(noise)
    return Cost(device_s + float(X[arm, 1:] @ theta[1:]) * math.exp(noise), device_s)


def play(
    policy: Rival | LinUCB, theta: npt.NDArray[np.float64], frames: int, random: np.random.Generator
) -> list[int]:
    arms = []
    for _ in range(frames):
        arms.append(policy.select(X))
        policy.update(arms[-1], cost_of(arms[-1], theta, 0.05 * random.standard_normal()))
    return arms


def sums_of(policy: Rival) -> Statistics:
    dumped = policy.dump()["sums"]
    parts = dumped if isinstance(dumped, list) else [dumped]
    return sum(map(Statistics.load, parts), start=Statistics.zeros(parts[0]["moment"].size))


def random_frames(frames: int, d: int = 4) -> list[tuple[Matrix, float]]:
    random = rng()
    theta = random.uniform(0, 1, d)
    contexts = [random.uniform(-1, 1, (6, d)) for _ in range(frames)]
    return [(each, float(theta @ each[0] + 0.1 * random.standard_normal())) for each in contexts]


@all_kinds
def test_who_forgets_nothing_is_linucb(kind: str) -> None:
    rival = KINDS[kind]([False] * 4, PLAIN, **FORGETS_NOTHING[kind])
    plain = LinUCB(4, beta_s=0.3)
    for contexts, cost_s in random_frames(300):
        arm = plain.select(contexts)
        assert rival.select(contexts) == arm
        for policy in (rival, plain):
            policy.update(arm, Cost(cost_s))
    for one, other in zip(rival.predict(contexts), plain._factor.predict(contexts), strict=True):
        assert np.allclose(one, other, rtol=0, atol=1e-9)
    assert rival.beta_s == plain.beta_s


def test_discounting_is_the_printed_formula() -> None:
    gamma, lam = 0.9, 0.1
    policy = DiscountedLinUCB([True, True, False, False], MEASURED, gamma=gamma)
    seen: list[tuple[npt.NDArray[np.float64], float, int]] = []
    for frame, (contexts, cost_s) in enumerate(random_frames(60)):
        policy.select(contexts)
        policy.update(0, Cost(cost_s, 0.25))
        device = contexts[0] * [1, 1, 0, 0]
        seen += [(device, 0.25, frame), (contexts[0] - device, max(0.0, cost_s - 0.25), frame)]
    weights = [gamma ** (59 - frame) for _, _, frame in seen]
    rows, y = np.array([x for x, _, _ in seen]), np.array([cost for _, cost, _ in seen])
    V = lam * np.eye(4) + (rows.T * weights) @ rows
    squared = lam * np.eye(4) + (rows.T * np.square(weights)) @ rows
    b = (rows.T * weights) @ y
    mean, width = policy.predict(contexts)
    assert np.allclose(mean, contexts @ np.linalg.solve(V, b), rtol=0, atol=1e-12)
    U = np.linalg.solve(V, contexts.T)
    assert np.allclose(width, np.sqrt(np.diag(U.T @ squared @ U)), rtol=0, atol=1e-12)
    residual = (weights * y) @ y - b @ np.linalg.solve(V, b)
    noise_s, scale_s = (
        math.sqrt(residual / (sum(weights) - 4)),
        math.sqrt((weights * y) @ y / sum(weights)),
    )
    assert policy.beta_s == pytest.approx(0.7 * noise_s + 0.5 * math.sqrt(lam) * scale_s)


@pytest.mark.parametrize("frames", [29, 30, 31, 60, 100, 299])
def test_a_window_is_linucb_on_its_last_frames(frames: int) -> None:
    windowed = WindowedLinUCB([False] * 4, PLAIN, window_frames=30)
    played = random_frames(frames)
    for contexts, cost_s in played:
        windowed.select(contexts)
        windowed.update(0, Cost(cost_s))
    plain = LinUCB(4)
    for contexts, cost_s in played[-30:]:
        plain.select(contexts)
        plain.update(0, Cost(cost_s))
    for one, other in zip(windowed.predict(contexts), plain._factor.predict(contexts), strict=True):
        assert np.allclose(one, other, rtol=0, atol=1e-9)
    assert windowed.dump()["sums"]["count"] == plain.statistics.count


def test_sums_of_a_window_do_not_rot() -> None:
    windowed = WindowedLinUCB([False] * 4, PLAIN, window_frames=5)
    for contexts, cost_s in random_frames(20):
        windowed.select(contexts)
        windowed.update(0, Cost(cost_s + 1e12 * (windowed.dump()["sums"]["count"] == 3)))
    kept = RecentFrames(4, 5)
    kept.load(windowed.dump()["frames"])
    exact = kept.on(Statistics.ridge(4, 0.1))
    assert np.allclose(windowed.dump()["sums"]["moment"], exact.moment, rtol=0, atol=1e-9)


@all_kinds
def test_after_a_jump_the_new_best_arm_is_found_where_plain_linucb_stays(kind: str) -> None:
    settings = PlayerSettings(beta_s=0.02)
    forgetting: dict[str, dict[str, float]] = {
        "discounted": {"gamma": 0.95},
        "windowed": {"window_frames": 60},
        "detector": {},
    }
    rival, plain = KINDS[kind](DEVICE, settings, **forgetting[kind]), LinUCB(3, beta_s=0.02)
    late = []
    for policy in (rival, plain):
        random = rng()
        assert play(policy, BEFORE, 600, random)[-50:].count(0) >= 45
        late.append(play(policy, AFTER, 80, random)[-20:].count(2))
    assert late[0] >= 16
    assert late[1] == 0


@all_kinds
def test_a_link_that_gets_better_is_found(kind: str) -> None:
    probing = PlayerSettings(beta_s=0.02, probe_after_frames=16, probe_largest_gap_frames=64)
    policy, random = KINDS[kind](DEVICE, probing), rng()
    assert play(policy, AFTER, 300, random)[-50:].count(2) >= 40
    assert play(policy, BEFORE, 400, random)[-20:].count(0) >= 18


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(np.array_equal(one, other))


@all_kinds
@pytest.mark.parametrize("probe_after_frames", [None, 4])
def test_who_was_restarted_goes_on_to_the_bit(kind: str, probe_after_frames: int | None) -> None:
    settings = PlayerSettings(probe_after_frames=probe_after_frames)
    policy, twin = KINDS[kind](DEVICE, settings), KINDS[kind](DEVICE, settings)
    random = rng()
    play(policy, BEFORE, 230, random)
    play(policy, AFTER, 43, random)
    twin.load(policy.dump())
    assert same(twin.dump(), policy.dump())
    assert play(twin, BEFORE, 250, rng(1)) == play(policy, BEFORE, 250, rng(1))
    assert same(twin.dump(), policy.dump())
    before = twin.dump()
    bad = twin.dump()
    bad["sums"] = Statistics(-np.eye(3), np.zeros(3), 1, 1.0).dump()
    if kind == "detector":
        bad["sums"] = [bad["sums"]] * 2
    with pytest.raises(ValueError, match="semidefinite"):
        twin.load(bad)
    assert same(twin.dump(), before)


def test_probes_that_are_switched_off_now_are_skipped() -> None:
    probing, other = DiscountedLinUCB(DEVICE), DiscountedLinUCB(DEVICE, MEASURED)
    play(probing, AFTER, 50, rng())
    other.load(probing.dump())
    assert other.dump()["player"] == {"probes": None}
    before = probing.dump()["player"]
    probing.load(other.dump())
    assert probing.dump()["player"] == before


@all_kinds
def test_a_lost_reply_counts_as_the_bound_or_the_prediction(kind: str) -> None:
    policy = KINDS[kind](DEVICE, PlayerSettings(beta_s=0.0, regularisation=1e-6), **FORGETS_NOTHING[kind])
    policy.select(X)
    policy.update(0, Cost(2.0, 0.0))
    moment = sums_of(policy).moment
    policy.update(0, Cost(0.5, 0.0, censored=True))
    assert sums_of(policy).moment - moment == pytest.approx([0.0, 2.0, 2.0], abs=1e-4)
    policy.update(0, Cost(7.0, censored=True))  # no parts: one row
    assert sums_of(policy).moment - moment == pytest.approx([0.0, 9.0, 9.0], abs=1e-4)


@all_kinds
def test_who_stays_on_the_device_looks_at_the_link_now_and_then(kind: str) -> None:
    def offloaded(after: int | None) -> list[int]:
        settings = PlayerSettings(beta_s=0.0, probe_after_frames=after, probe_largest_gap_frames=40)
        policy = KINDS[kind](DEVICE, settings, **FORGETS_NOTHING[kind])
        arms = play(policy, AFTER, 200, rng())
        return [frame for frame, arm in enumerate(arms) if arm != 2 and frame > 20]

    assert offloaded(None) == []
    gaps = np.diff(offloaded(10))
    assert gaps.min() >= 11
    assert gaps.max() in (21, 41)  # it doubles, up to its bound, while the link is no better than believed
    alone = KINDS[kind](DEVICE, PlayerSettings(probe_after_frames=1))
    for _ in range(4):  # nowhere to go
        assert alone.select(X[2:]) == 0
        alone.update(0, Cost(0.1, 0.1))


def test_a_probe_that_was_played_on_the_device_stays_due() -> None:
    policy = DiscountedLinUCB(DEVICE, PlayerSettings(beta_s=0.0, probe_after_frames=10), gamma=1.0)
    play(policy, AFTER, 30, rng())
    while policy.select(X) == 2:
        policy.update(2, cost_of(2, AFTER))
    policy.update(2, cost_of(2, AFTER))  # the edge was not there
    assert policy.select(X) != 2


@all_kinds
def test_arms_contexts_and_settings_are_checked(kind: str) -> None:
    make = KINDS[kind]
    policy = make(DEVICE)
    with pytest.raises(ValueError, match="not among"):
        policy.update(0, Cost(1.0))
    with pytest.raises(ValueError, match="contexts"):
        policy.select(X[:, :2])
    before = policy.dump()["sums"]
    with np.errstate(all="ignore"):
        policy.select(1e155 * X)
        with pytest.raises(ValueError, match="gram holds NaN or infinity"):
            policy.update(0, Cost(1.0))
    assert same(policy.dump()["sums"], before)
    with pytest.raises(ValueError, match="device_columns"):
        make([[True], [False]])
    with pytest.raises(ValueError, match="regularisation"):
        make(DEVICE, PlayerSettings(regularisation=0.0))
    with pytest.raises(ValueError, match="gap"):
        make(DEVICE, PlayerSettings(probe_after_frames=0))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("discounted", {"gamma": value}) for value in (0.0, 1.01, math.nan)]
    + [("windowed", {"window_frames": 0})]
    + [
        ("detector", settings)
        for settings in (
            {"slack": -0.1},
            {"slack": 3.0},
            {"clip": math.nan},
            {"threshold": 0.0},
            {"threshold": math.inf},
            {"keep_frames": -1},
            {"warm_up_frames": 0},
        )
    ],
)
def test_how_to_forget_is_checked(kind: str, settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"expected|kept"):
        KINDS[kind](DEVICE, **settings)


@pytest.mark.parametrize(
    "settings", [{"feedback": "half"}, {"beta_s": -1.0}, {"beta_noise": math.nan}, {"beta_prior": math.inf}]
)
def test_how_to_choose_is_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"feedback|beta"):
        PlayerSettings(**settings)


def test_a_discounted_state_that_cannot_be_is_refused() -> None:
    policy = DiscountedLinUCB(DEVICE)
    play(policy, BEFORE, 5, rng())
    for bad in ({"weight": -1.0}, {"weight": math.nan}, {"weight": 99.0}, {"squared": -np.eye(3)}):
        with pytest.raises(ValueError, match=r"weight|semidefinite"):
            policy.load({**policy.dump(), **bad})


def test_recent_frames_are_the_last_ones() -> None:
    frames = [(np.full((1, 2), float(i)), np.array([float(i)])) for i in range(4)]
    none, two, other = RecentFrames(2, 0), RecentFrames(2, 2), RecentFrames(2, 1)
    ridge = Statistics.ridge(2, 1.0)
    assert [none.append(frame) for frame in frames] == frames
    assert none.on(ridge) is ridge
    assert [two.append(frame) for frame in frames] == [None, None, frames[0], frames[1]]
    assert two.on(ridge).moment.tolist() == [13.0, 13.0]
    other.load(two.dump())
    assert other.dump() == two.dump()[1:]
    for bad in (
        {"rows": np.ones((1, 3)), "costs": np.ones(1)},
        {"rows": np.ones((1, 2)), "costs": np.ones(2)},
    ):
        with pytest.raises(ValueError, match="shape"):
            other.load([bad])
    none.load(two.dump())
    assert none.dump() == []


def steps_between_alarms(cusum: Cusum, values: npt.NDArray[np.float64]) -> float:
    alarms = 0
    for z in values:
        if cusum.observe(float(z)):
            alarms += 1
            cusum.reset()
    return len(values) / max(1, alarms)


def test_false_alarms_of_a_cusum_are_as_rare_as_siegmund_says() -> None:
    k, h = 0.5, 4.0
    b = h + 1.166
    one_side = (math.exp(2 * k * b) - 2 * k * b - 1) / (2 * k * k)
    measured = steps_between_alarms(Cusum(slack=k, threshold=h, clip=9.0), rng().standard_normal(40_000))
    assert measured == pytest.approx(one_side / 2, rel=0.15)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_cusum_finds_a_shift_and_lets_one_outlier_pass(sign: float) -> None:
    cusum = Cusum(slack=0.5, threshold=8.0, clip=3.0)
    assert not cusum.observe(sign * 1e9)
    assert not any(cusum.observe(0.0) for _ in range(50))
    found = [cusum.observe(sign * 2.5) for _ in range(10)]
    assert found.index(True) == 4
    other = Cusum()
    other.load(cusum.dump())
    assert other.dump() == cusum.dump()
    for bad in ({"up": -1.0, "down": 0.0}, {"up": 0.0, "down": math.inf}):
        with pytest.raises(ValueError, match="finite"):
            other.load(bad)


@pytest.mark.parametrize(("hold_ups", "frames_an_alarm"), [(0.0, 3000), (0.02, 1000)])
def test_a_detector_seldom_alarms_where_nothing_changes(hold_ups: float, frames_an_alarm: int) -> None:
    """The arms' noise differs, as it does in a site, and so do its hold-ups, 20 deviations long."""
    random = rng(11)
    policy = DetectorLinUCB(DEVICE, PlayerSettings(beta_noise=3.0))
    frames = 6000
    for _ in range(frames):
        arm = policy.select(X)
        held_up_s = random.exponential(0.03) * (random.random() < hold_ups)
        cost = cost_of(arm, BEFORE, 0.05 * random.standard_normal())
        policy.update(arm, Cost(cost.total_s + held_up_s * (arm != 2), cost.device_s))
    assert policy.alarms <= frames / frames_an_alarm


@pytest.mark.parametrize("what", ["device", "link", "both"])
def test_a_detector_alarms_soon_after_a_change_of_either_part(what: str) -> None:
    theta = BEFORE.copy()
    policy, random = DetectorLinUCB(DEVICE, PlayerSettings(beta_s=0.0), keep_frames=2), rng()

    def frames(count: int) -> None:
        for _ in range(count):
            policy.select(X)
            policy.update(1, cost_of(1, theta, 0.05 * random.standard_normal()))

    frames(400)
    assert policy.alarms == 0
    theta *= {"device": [2.0, 1, 1], "link": [1, 1.0, 3.0], "both": [0.5, 0.5, 0.5]}[what]
    frames(30)
    assert policy.alarms == (2 if what == "both" else 1)
    forgotten = {"device": [True, False], "link": [False, True], "both": [True, True]}[what]
    assert [sums["count"] < 40 for sums in policy.dump()["sums"]] == forgotten
    policy.select(X)
    assert policy.predict(X)[0][1] == pytest.approx(cost_of(1, theta).total_s, rel=0.1)


def test_a_detector_state_that_cannot_be_is_refused() -> None:
    policy = DetectorLinUCB(DEVICE)
    play(policy, BEFORE, 5, rng())
    first, second = policy.dump()["watches"]
    for bad in ({"count": -1}, {"squares": -1.0}, {"squares": math.nan}):
        with pytest.raises(ValueError, match="squares"):
            policy.load({**policy.dump(), "watches": [{**first, **bad}, second]})


def test_a_detector_of_costs_that_are_all_nothing_stays_quiet() -> None:
    policy = DetectorLinUCB(DEVICE, warm_up_frames=1)
    for _ in range(20):
        policy.select(X)
        policy.update(0, Cost(0.0, 0.0))
    assert policy.alarms == 0
