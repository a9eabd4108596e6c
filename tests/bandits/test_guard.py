"""The guard: honest devices stay, each lie is found, and what leaves a sum leaves it whole."""

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from bandits.federation import Duplicate, Group, GuardSettings, Member, Merged, Repeated, Verdict
from bandits.guard import Comparison, Summary, compare, level_at
from bandits.statistics import Statistics
from bandits.watch import MOST_AT_ONCE, Watch
from tests.bandits.simulated_type import SimulatedType, draw, make_type

Alter = Callable[[Statistics, int], Statistics]
ROWS = 10
KIND = make_type(3)
D = KIND.contexts.shape[1]
OWN = tuple(bool(own) for own in KIND.device_columns)
ALL = (True,) * D


@pytest.fixture(autouse=True, scope="module")
def _one_blas_thread() -> Iterator[None]:
    """As in a role's process (`cans/running.py`): a second one only spins here."""
    with threadpool_limits(1, "blas"):
        yield


def rows_of(
    kind: SimulatedType, rng: np.random.Generator, arms: np.ndarray, frames: int = ROWS
) -> Statistics:
    """Return one upload: split rows of `frames` frames on the device's favourite arms."""
    X, y = [], []
    for arm in rng.choice(arms, frames):
        x, cost = kind.contexts[arm], draw(kind, int(arm), rng)
        device = x * kind.device_columns
        assert cost.device_s is not None
        X += [device, x - device]
        y += [cost.device_s, cost.total_s - cost.device_s]
    return Statistics.zeros(D).add_rows(np.array(X), np.array(y))


def costs_times(factor: float) -> Alter:
    return lambda told, _: Statistics(
        told.gram, factor * told.moment, told.count, factor**2 * told.sum_squares
    )


def play(
    group: Group,
    rng: np.random.Generator,
    kinds: list[SimulatedType],
    uploads: int,
    lies: dict[int, Alter] | None = None,
    columns: tuple[bool, ...] = ALL,
) -> Iterator[tuple[int, int, Merged | Duplicate]]:
    """Let devices upload in turn, each with three favourite arms; yield device, upload and answer."""
    favourites = [rng.choice(len(KIND.contexts), 3, replace=False) for _ in kinds]
    for seq in range(1, uploads + 1):
        for device, kind in enumerate(kinds):
            told = rows_of(kind, rng, favourites[device])
            if lies and device in lies:
                told = lies[device](told, seq)
            yield device, seq, group.merge(f"d{device}", "i", 1, seq, told, columns=columns)


def guarded(dimension: int = D, **settings: float) -> Group:
    return Group(dimension, "o", guard=GuardSettings(**settings))  # type: ignore[arg-type]


def watch_of(group: Group) -> Watch:
    assert group.watch is not None
    return group.watch


@pytest.mark.parametrize(
    "settings", [{"tolerance": 1.0}, {"level": 0.0}, {"least_members": 2}, {"digests": 0}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"expected|needs"):
        GuardSettings(**settings)  # type: ignore[arg-type]


def test_the_distance_is_chows() -> None:
    rng = np.random.default_rng(0)
    sides = []
    for theta in ([1.0, 2.0, 0.0], [1.0, 2.5, 0.3]):
        X = rng.standard_normal((30, 3))
        sides.append((X, X @ np.array(theta) + 0.1 * rng.standard_normal(30)))
    (X1, y1), (X2, y2) = sides

    def residual(X: np.ndarray, y: np.ndarray) -> float:
        return float(np.sum((y - X @ np.linalg.lstsq(X, y)[0]) ** 2))

    expected = residual(np.vstack([X1, X2]), np.concatenate([y1, y2])) - residual(X1, y1) - residual(X2, y2)
    found = compare(X1.T @ X1, y1 @ X1, X2.T @ X2, y2 @ X2)
    assert found.distance**2 == pytest.approx(expected)
    assert found.shared == 3
    assert compare(X1.T @ X1, y1 @ X1, X2.T @ X2, -y1 @ X1).difference <= 2.0


def test_noise_alone_is_chi_square_and_nothing_shared_is_no_difference() -> None:
    rng, found = np.random.default_rng(1), []
    for _ in range(400):
        X, Z = rng.standard_normal((2, 40, 4))
        found.append(compare(X.T @ X, rng.standard_normal(40) @ X, Z.T @ Z, rng.standard_normal(40) @ Z))
    squares = np.array([one.distance**2 for one in found])
    assert squares.mean() == pytest.approx(4.0, rel=0.1)
    assert np.mean([one.excess(0.0, 1.0, 0.05) > 0.0 for one in found]) == pytest.approx(0.05, abs=0.03)
    apart = compare(np.diag([1.0, 0.0]), np.array([5.0, 0.0]), np.diag([0.0, 1.0]), np.array([0.0, -5.0]))
    assert (apart.distance, apart.difference, apart.shared) == (0.0, 0.0, 0)
    assert apart.excess(0.25, 1.0, 0.1) == -np.inf


def test_all_looks_of_all_members_cost_no_more_than_the_level() -> None:
    assert sum(7 * level_at(look, 7, 0.01) for look in range(1, 10_000)) == pytest.approx(0.01, rel=1e-3)


def test_columns_that_may_differ_are_projected_out() -> None:
    """Frisch and Waugh: own columns' theta is that of the whole regression."""
    rng = np.random.default_rng(2)
    X = rng.standard_normal((50, 4))
    y = X @ np.array([1.0, 2.0, 3.0, 4.0]) + rng.standard_normal(50)
    summary = Summary.of(Statistics.zeros(4).add_rows(X, y), np.array([True, True, False, False]))
    whole, residual, *_ = np.linalg.lstsq(X, y)
    assert np.linalg.solve(summary.gram, summary.moment) == pytest.approx(whole[:2])
    assert summary.variance == pytest.approx(float(residual[0]) / 46)
    assert np.isnan(Summary.of(Statistics.zeros(4).add_rows(X[:8], y[:8]), np.ones(4, bool)).variance)
    assert summary.at_most(100.0) is summary
    assert summary.at_most(25.0).gram == pytest.approx(0.5 * summary.gram)


@pytest.mark.parametrize("seed", range(8))
def test_honest_devices_that_play_other_arms_are_not_parked(seed: int) -> None:
    group = guarded()
    for _, _, answer in play(group, np.random.default_rng(seed), [KIND] * 8, 12):
        assert isinstance(answer, Merged)
        assert answer.verdicts == ()
    assert watch_of(group).trouble == ""


LIES: dict[str, Alter] = {
    "sign_flip": costs_times(-1.0),
    "scale": costs_times(3.0),
    "shrink": costs_times(0.4),
    "slow_drift": lambda told, seq: costs_times(1.2**seq)(told, seq),
    "heavy": lambda told, _: Statistics(
        1000 * told.gram, 3000 * told.moment, 1000 * told.count, 9000 * told.sum_squares
    ),
}


@pytest.mark.parametrize("columns", [ALL, OWN], ids=["measured link", "learned link"])
@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("seed", range(3))
def test_each_lie_is_found_and_only_the_liar_is_parked(
    lie: str, seed: int, columns: tuple[bool, ...]
) -> None:
    group = guarded()
    found = None
    for _, seq, answer in play(
        group, np.random.default_rng(seed), [KIND] * 6, 8, {2: LIES[lie]}, columns=columns
    ):
        assert isinstance(answer, Merged)
        if answer.verdicts and found is None:
            found = seq
            assert [(v.device, v.parked) for v in answer.verdicts] == [("d2", True)]
            assert str(answer.verdicts[0]).startswith("d2 is parked: its costs differ by ")
    assert found is not None
    assert found <= (8 if lie == "slow_drift" else 3)
    assert watch_of(group).parked == ["d2"]
    assert group.is_parked("d2")
    assert group.members == 5


def test_a_device_of_another_type_is_found() -> None:
    group, other = guarded(), make_type(3, device_s=0.4)
    list(play(group, np.random.default_rng(0), [KIND] * 4 + [other], 4, columns=OWN))
    assert watch_of(group).parked == ["d4"]


def test_devices_whose_links_differ_are_of_one_type_where_the_link_is_learned() -> None:
    kinds = [make_type(3, mbit_s=rate) for rate in (2.0, 4.0, 8.0, 16.0, 32.0)]
    group = guarded()
    list(play(group, np.random.default_rng(0), kinds, 6, columns=OWN))
    assert watch_of(group).parked == []


def test_two_liars_that_agree_are_outvoted_however_much_they_weigh() -> None:
    group = guarded()
    lies = {0: LIES["heavy"], 1: LIES["heavy"]}
    list(play(group, np.random.default_rng(0), [KIND] * 7, 4, lies))
    assert watch_of(group).parked == ["d0", "d1"]


def test_a_liar_that_falls_silent_is_found_by_the_uploads_of_others() -> None:
    rng, group = np.random.default_rng(0), guarded()
    arms = np.arange(len(KIND.contexts))
    group.merge("liar", "i", 1, 1, costs_times(3.0)(rows_of(KIND, rng, arms), 1), columns=ALL)
    for seq, device in itertools.product(range(1, 4), range(4)):
        group.merge(f"d{device}", "i", 1, seq, rows_of(KIND, rng, arms), columns=ALL)
    assert watch_of(group).parked == ["liar"]


def test_where_half_differ_nobody_more_is_parked_and_it_is_said() -> None:
    group, other = guarded(), make_type(3, device_s=0.6)
    rng, arms = np.random.default_rng(0), np.arange(len(KIND.contexts))
    watch = watch_of(group)
    for device, kind in enumerate([KIND, other] * 3):
        watch.add(f"d{device}", rows_of(kind, rng, arms, 40), OWN)
    assert watch.judge("d0") == []
    assert watch.parked == []
    assert "nobody can tell" in watch.trouble
    for _ in range(6):
        assert watch.judge("d0") == []  # left in peace
    assert "nobody can tell" in watch.trouble
    # They come one by one: whom a majority parked stays parked, and it is never half.
    list(play(group := guarded(), rng, [KIND] * 3 + [other] * 3, 4, columns=OWN))
    assert watch_of(group).parked == ["d3", "d4"]
    assert "nobody can tell" in watch_of(group).trouble


def test_two_members_are_never_judged_nor_those_who_name_no_column_or_have_few_rows() -> None:
    two = guarded()
    list(play(two, np.random.default_rng(0), [KIND] * 2, 3, {1: LIES["scale"]}))
    mute = guarded()
    list(play(mute, np.random.default_rng(0), [KIND] * 5, 3, {1: LIES["scale"]}, columns=()))
    few, x = guarded(2), np.array([1.0, 0.5])
    for device in range(4):
        rows = Statistics.zeros(2).add_row(x, 10.0**device)
        few.merge(f"d{device}", "i", 1, 1, rows, columns=(True, True))
    for group in (two, mute, few):
        assert watch_of(group).parked == []
        assert watch_of(group).trouble == ""


def test_one_judgement_parks_no_more_than_it_has_time_for() -> None:
    rng, group = np.random.default_rng(0), guarded()
    arms, liars = np.arange(len(KIND.contexts)), MOST_AT_ONCE + 2
    watch = watch_of(group)
    for device in range(40):
        told = rows_of(KIND, rng, arms)
        watch.add(f"d{device}", costs_times(5.0)(told, 1) if device < liars else told, ALL)
    sizes = []
    for _ in range(3):
        watch.judge("d39")
        sizes.append(len(watch.parked))
    assert sizes[0] == MOST_AT_ONCE
    for _ in range(40):
        watch.judge("d39")
    assert sorted(watch.parked) == sorted(f"d{device}" for device in range(liars))


def test_removal_is_exact_and_the_parked_come_back_when_they_agree_again() -> None:
    rng, group, told = np.random.default_rng(0), guarded(), []
    lies: dict[int, Alter] = {0: lambda one, seq: costs_times(2.0 if seq == 1 else 1.0)(one, seq)}
    truth: dict[int, Statistics] = {}
    seen: list[Verdict] = []
    favourites = np.arange(len(KIND.contexts))
    for seq, device in itertools.product(range(1, 31), range(5)):
        rows = rows_of(KIND, rng, favourites)
        rows = lies[0](rows, seq) if device == 0 else rows
        answer = group.merge(f"d{device}", "i", 1, seq, rows, columns=ALL)
        assert isinstance(answer, Merged)
        seen += answer.verdicts
        truth[device] = truth.get(device, Statistics.zeros(D)) + rows
        expected = Statistics.ridge(D, 0.1)
        for one, rows_so_far in truth.items():
            if not group.is_parked(f"d{one}"):
                expected += rows_so_far
        assert np.allclose(group.statistics.gram, expected.gram, rtol=1e-12)
        assert np.allclose(group.statistics.moment, expected.moment, rtol=1e-12)
        assert group.statistics.count == expected.count
        told.append(answer.version)
    assert [(v.device, v.parked) for v in seen] == [("d0", True), ("d0", False)]
    assert str(seen[1]).startswith("d0 is back: ")
    assert told == list(range(1, 151))  # a version names one state of the sums, parked ones included


def test_a_replay_is_known_and_not_merged() -> None:
    rng, group = np.random.default_rng(0), guarded(digests=2)
    arms = np.arange(5)
    first, second, third = (rows_of(KIND, rng, arms) for _ in range(3))
    group.merge("a", "i", 1, 1, first)
    group.merge("b", "i", 1, 1, first)  # another device's business
    before = group.statistics
    with pytest.raises(Repeated, match="under another number"):
        group.merge("a", "i", 1, 2, first)
    assert group.statistics is before
    assert group.merge("a", "i", 1, 1, first) == Duplicate(1)  # the same number is a repetition of the wire
    group.merge("a", "i", 1, 2, second)
    group.merge("a", "i", 1, 3, third)
    group.merge("a", "i", 1, 4, first)  # longer ago than is remembered


def test_devices_beyond_the_bound_are_merged_but_not_watched() -> None:
    rng, group = np.random.default_rng(0), guarded()
    rows = rows_of(KIND, rng, np.arange(5))
    group.merge("a", "i", 1, 1, rows, named=False)
    assert ("a" in watch_of(group), len(watch_of(group))) == (False, 0)
    assert np.array_equal(group.statistics.gram, watch_of(group).sum().gram)
    group.merge("b", "i", 1, 1, rows)
    group.merge("b", "i", 1, 2, rows_of(KIND, rng, np.arange(5)), named=False)  # known already
    assert watch_of(group).total_of("b").count == 2 * rows.count


def test_a_sum_that_overflows_changes_nothing() -> None:
    watch = Watch(Statistics.ridge(1, 0.1))
    huge = Statistics(np.array([[1e308]]), np.zeros(1), 1, 0.0)
    watch.add("a", huge)
    with pytest.raises(ValueError, match="gram"):
        watch.add("a", huge)
    assert watch.total_of("a").gram[0, 0] == 1e308


def test_a_guarded_group_goes_on_after_a_restart_with_the_guard_and_without() -> None:
    rng, group = np.random.default_rng(0), guarded()
    list(play(group, rng, [KIND] * 5, 8, {1: LIES["scale"]}))
    again = Group.load(group.dump(), GuardSettings())
    assert again.dump()["watch"]["members"][1]["parked"]
    for one in (group, again):
        list(play_on(one, np.random.default_rng(5), 9))
    assert np.array_equal(group.statistics.gram, again.statistics.gram)
    assert watch_of(group).parked == watch_of(again).parked == ["d1"]
    plain = Group.load(group.dump())
    assert plain.watch is None
    assert not plain.is_parked("d1")
    assert plain.version == group.version + 1
    expected = group.statistics + watch_of(group).total_of("d1")
    assert np.array_equal(plain.statistics.gram, expected.gram)
    assert plain.members == 5
    # And a guard that is new: what is in the sum stays, whoever sent it.
    late = Group.load(plain.dump(), GuardSettings())
    list(play_on(late, np.random.default_rng(6), 12))
    assert watch_of(late).parked == ["d1"]
    assert late.statistics.count > plain.statistics.count
    honest = Group.load(Group(D, "o", guard=GuardSettings()).dump())
    assert honest.version == 0


def play_on(group: Group, rng: np.random.Generator, seq: int) -> Iterator[Merged | Duplicate]:
    arms = np.arange(len(KIND.contexts))
    for number, device in itertools.product(range(seq, seq + 3), range(5)):
        told = rows_of(KIND, rng, arms)
        told = costs_times(3.0)(told, 1) if device == 1 else told
        yield group.merge(f"d{device}", "i", 1, number, told, columns=ALL)


def test_the_columns_are_those_that_most_members_name() -> None:
    group, rng = guarded(), np.random.default_rng(0)
    arms = np.arange(len(KIND.contexts))
    nothing = (True,) + (False,) * (D - 1)
    for seq, device in itertools.product(range(1, 4), range(5)):
        told = rows_of(KIND, rng, arms)
        columns = nothing if device == 0 else ALL
        group.merge(
            f"d{device}", "i", 1, seq, costs_times(3.0)(told, 1) if device == 0 else told, columns=columns
        )
    assert watch_of(group).parked == ["d0"]


# What a parked device does.


def rows(*costs: float) -> Statistics:
    return Statistics.zeros(2).add_rows(np.array([[1.0, cost] for cost in costs]), np.array(costs))


def member(**settings: object) -> Member:
    return Member(2, **{"regularisation": 0.5, "alpha": 0.0, **settings})  # type: ignore[arg-type]


def observe(m: Member, *costs: float) -> None:
    m.observe(np.array([[1.0, cost] for cost in costs]), np.array(costs))


def ridge_and(*costs: float) -> np.ndarray:
    return np.asarray(0.5 * np.eye(2) + rows(*costs).gram)


def group_of(*costs: float) -> Statistics:
    return Statistics.ridge(2, 0.5) + rows(*costs)


def parked_member(view: str = "fresh") -> Member:
    """Return a member with early-exit row 9 and rows 1, 2 uploaded, 3 local, parked by the answer to 2."""
    m = member(view=view)
    m.join(rows(9))
    first = m.take_upload()
    m.acknowledged(0, first.seq, "a", 1)
    m.adopt("a", 1, group_of(9, 7))
    observe(m, 1)
    second = m.take_upload()
    m.acknowledged(0, second.seq, "a", 2)
    observe(m, 2)
    third = m.take_upload()
    m.adopt("a", 3, group_of(7, 7))  # held back: the answer is under way
    observe(m, 3)
    assert m.acknowledged(0, third.seq, "a", 4, parked=True)
    return m


def test_a_parked_member_learns_alone_from_all_its_rows_and_adopts_nothing() -> None:
    m = parked_member()
    assert m.alone
    assert np.allclose(m.view().gram, ridge_and(9, 1, 2, 3))
    assert not m.adopt("a", 5, group_of(7, 7, 7))
    assert not m.adopt("b", 1, group_of(7))
    assert np.allclose(m.view().gram, ridge_and(9, 1, 2, 3))
    upload = m.take_upload()
    assert np.allclose(m.view().gram, ridge_and(9, 1, 2, 3))
    assert m.refused(0, upload.seq)
    observe(m, 4)
    again = m.take_upload()
    m.refused(0, again.seq, again=True)
    assert np.allclose(m.view().gram, ridge_and(9, 1, 2, 3, 4))
    strict = parked_member("strict")
    assert np.allclose(strict.view().gram, ridge_and(9, 1, 2))
    strict.take_upload()
    assert np.allclose(strict.view().gram, ridge_and(9, 1, 2))


def test_a_parked_member_goes_on_handing_in_by_what_it_knows_itself() -> None:
    """The group that it left is no measure of what is news: the aggregator needs rows to let it back."""
    m = parked_member()
    m.refused(0, m.take_upload().seq)
    assert not m.upload_due()
    for cost in range(40):
        observe(m, float(cost))
    assert m.upload_due()


def test_parked_before_its_early_exit_rows_are_answered() -> None:
    m = member()
    observe(m, 1)
    upload = m.take_upload()
    m.join(rows(9))
    m.acknowledged(0, upload.seq, "a", 1, parked=True)
    assert np.allclose(m.view().gram, ridge_and(1, 9))
    strict = member(view="strict")
    observe(strict, 1)
    m.take_upload()
    assert np.allclose(m.view().gram, ridge_and(1, 9))


def test_a_member_comes_back_with_the_version_that_has_its_rows_again() -> None:
    m = parked_member()
    upload = m.take_upload()
    assert m.acknowledged(0, upload.seq, "a", 8)
    assert np.allclose(m.view().gram, ridge_and(9, 1, 2, 3))
    assert not m.adopt("a", 7, group_of(7))
    assert not m.adopt("b", 9, group_of(7))
    assert m.adopt("a", 8, group_of(7, 9, 1, 2, 3))
    assert not m.alone
    assert np.allclose(m.view().gram, ridge_and(7, 9, 1, 2, 3))
    assert (m.origin, m.version) == ("a", 8)


def test_a_broadcast_that_takes_it_back_waits_for_the_upload_in_flight() -> None:
    m = parked_member()
    upload = m.take_upload()
    m.acknowledged(0, upload.seq, "a", 8)
    observe(m, 4)
    fourth = m.take_upload()
    assert not m.adopt("a", 8, group_of(7, 9, 1, 2, 3))
    assert np.allclose(m.view().gram, ridge_and(9, 1, 2, 3, 4))
    observe(m, 5)
    assert m.acknowledged(0, fourth.seq, "a", 9)
    assert not m.alone
    assert np.allclose(m.view().gram, ridge_and(7, 9, 1, 2, 3, 4, 5))
    assert m.adopt("a", 9, group_of(7, 9, 1, 2, 3, 4))
    assert np.allclose(m.view().gram, ridge_and(7, 9, 1, 2, 3, 4, 5))


def test_an_aggregator_that_lost_everything_takes_a_parked_member_like_any_other() -> None:
    m = parked_member()
    upload = m.take_upload()
    m.acknowledged(0, upload.seq, "a", 8)
    observe(m, 4)
    fourth = m.take_upload()
    m.adopt("a", 8, group_of(7, 9, 1, 2, 3))
    m.acknowledged(0, fourth.seq, "b", 1)  # what was held is of an aggregator that is gone
    assert np.allclose(m.view().gram, ridge_and(9, 1, 2, 3, 4))
    assert m.adopt("b", 1, group_of(4))
    assert not m.alone
    assert np.allclose(m.view().gram, ridge_and(4))


def test_being_alone_survives_a_restart_and_old_states_still_load() -> None:
    m = parked_member()
    upload = m.take_upload()
    m.acknowledged(0, upload.seq, "a", 8)
    again = member(boot=1)
    again.load(m.dump())
    assert again.alone
    assert np.allclose(again.view().gram, m.view().gram)
    assert again.adopt("a", 8, group_of(7, 9, 1, 2, 3))
    old = {key: value for key, value in m.dump().items() if key not in {"answered", "alone", "back"}}
    older = member(boot=1)
    older.load(old)
    assert not older.alone


def test_verdicts_say_in_one_sentence_what_to_look_at() -> None:
    verdict = Verdict("cam-7", parked=True, difference=0.693, tolerance=0.25, others=9)
    assert str(verdict) == (
        "cam-7 is parked: its costs differ by 69 % from those of the 9 others, 25 % is allowed; "
        "look at its declared type and its clock"
    )
    assert Comparison(1.0, 0.0, 1).difference == 0.0
