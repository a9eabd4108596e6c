"""Member and Group: exactly once, and the view that follows from it."""

import copy

import numpy as np
import pytest

from bandits.federation import Duplicate, Group, GroupFull, Member, Merged
from bandits.member import MAX_ROWS, MAX_SHARED
from bandits.statistics import Statistics
from bandits.uploads import Upload
from bus.statistics import Bounds

D = 3
LAMBDA = 0.5
BAD = Statistics(np.array([[1.0, 2.0, 0], [2.0, 1.0, 0], [0, 0, 1.0]]), np.zeros(D), 1, 1.0)


def rows(*costs: float) -> tuple[np.ndarray, np.ndarray]:
    return np.array([[1.0, cost, cost * cost] for cost in costs]), np.array(costs)


def member(**settings: object) -> Member:
    return Member(D, **{"regularisation": LAMBDA, "alpha": 0.0, **settings})  # type: ignore[arg-type]


def offline(*costs: float) -> Statistics:
    return Statistics.zeros(D).add_rows(*rows(*costs))


def gram_of(*costs: float) -> np.ndarray:
    return LAMBDA * np.eye(D) + offline(*costs).gram


def sent(m: Member, *costs: float) -> Upload:
    m.observe(*rows(*costs))
    assert m.upload_due()
    return m.take_upload()


def test_every_switch_is_checked() -> None:
    for settings in ({"alpha": -1.0}, {"alpha": np.inf}, {"view": "stale"}, {"start": "one"}):
        with pytest.raises(ValueError, match=r"alpha|unknown"):
            member(**settings)


def test_nothing_is_due_before_the_first_row() -> None:
    m = member()
    assert not m.upload_due()
    with pytest.raises(ValueError, match="nothing"):
        m.take_upload()


def test_early_exit_rows_go_up_first_and_count_once() -> None:
    m = member()
    m.join(offline(1.0, 2.0))
    assert m.joined
    m.observe(*rows(3.0))
    upload = m.take_upload()
    assert (upload.kind, upload.boot, upload.seq, upload.statistics.count) == ("offline", 0, 1, 2)
    assert np.allclose(m.view().gram, gram_of(1, 2, 3))
    with pytest.raises(ValueError, match="joined before"):
        m.join(offline(1.0))
    assert not m.upload_due()
    with pytest.raises(ValueError, match="in flight"):
        m.take_upload()
    assert m.acknowledged(0, 1, "a", 1)
    assert m.take_upload().kind == "online"


def test_joining_without_rows_sends_nothing() -> None:
    m = member()
    m.join(Statistics.zeros(D))
    assert m.joined
    assert not m.upload_due()


@pytest.mark.parametrize("alpha", [0.1, 1.0, 5.0])
def test_an_upload_is_due_when_the_log_determinant_has_grown_enough(alpha: float) -> None:
    m, rng = member(alpha=alpha), np.random.default_rng(1)
    gram, local = LAMBDA * np.eye(D), np.zeros((D, D))
    for _ in range(300):
        x = rng.uniform(-1, 1, (1, D))
        m.observe(x, np.ones(1))
        local += x.T @ x
        due = np.linalg.slogdet(gram + local)[1] - np.linalg.slogdet(gram)[1] > np.log1p(alpha)
        assert m.upload_due() == due
        if due:
            upload = m.take_upload()
            gram, local = gram + local, np.zeros((D, D))
            m.acknowledged(upload.boot, upload.seq, "a", upload.seq)
            m.adopt("a", upload.seq, Statistics(gram, np.zeros(D), 1, 400.0))


def test_a_zero_start_waits_for_rows_that_span_all_columns() -> None:
    m = member(start="zero", alpha=1.0)
    due = []
    for cost in (1.0, 2.0, 3.0):
        m.observe(*rows(cost))
        due.append(m.upload_due())
    assert due == [False, False, True]
    assert np.allclose(m.view().gram, gram_of(1, 2, 3))  # the estimate is ridge all the same


def test_an_acknowledged_upload_stays_in_the_view_until_a_version_contains_it() -> None:
    m = member()
    upload = sent(m, 1.0)
    assert m.acknowledged(0, upload.seq, "a", 5)
    assert not m.acknowledged(0, upload.seq, "a", 5)  # the same answer again
    assert m.adopt("a", 4, Statistics(gram_of(9), np.zeros(D), 1, 81.0))
    assert np.allclose(m.view().gram, gram_of(9, 1))
    assert m.adopt("a", 5, Statistics(gram_of(9, 1), np.zeros(D), 2, 82.0))
    assert np.allclose(m.view().gram, gram_of(9, 1))
    assert not m.adopt("a", 5, Statistics(gram_of(7), np.zeros(D), 1, 49.0))  # an old version again
    assert (m.origin, m.version) == ("a", 5)


@pytest.mark.parametrize("contains", [True, False])
def test_a_broadcast_is_held_back_while_an_upload_is_unanswered(contains: bool) -> None:
    m = member()
    upload = sent(m, 1.0)
    group = gram_of(9, 1) if contains else gram_of(9)
    assert not m.adopt("a", 3, Statistics(group, np.zeros(D), 1, 82.0))
    assert not m.adopt("a", 2, Statistics(gram_of(8), np.zeros(D), 1, 64.0))  # late: the newer one is held
    assert np.allclose(m.view().gram, gram_of(1))
    epoch = m.epoch
    m.acknowledged(0, upload.seq, "a", 3 if contains else 4)
    assert m.epoch > epoch
    assert m.version == 3
    assert np.allclose(m.view().gram, gram_of(9, 1))


def test_a_newer_broadcast_replaces_the_held_one() -> None:
    m = member()
    sent(m, 1.0)
    m.adopt("a", 2, Statistics(gram_of(8), np.zeros(D), 1, 64.0))
    m.adopt("a", 3, Statistics(gram_of(8, 1), np.zeros(D), 2, 65.0))
    m.acknowledged(0, 1, "a", 3)
    assert m.version == 3


def test_another_origin_is_adopted_at_once_and_own_rows_stay() -> None:
    m = member()
    m.adopt("a", 7, Statistics(gram_of(9), np.zeros(D), 1, 81.0))
    first = sent(m, 1.0)
    m.acknowledged(0, first.seq, "a", 8)
    second = sent(m, 2.0)
    m.adopt("a", 8, Statistics(gram_of(9, 1), np.zeros(D), 2, 82.0))  # held back
    assert m.adopt("b", 1, Statistics(gram_of(5), np.zeros(D), 1, 25.0))
    assert (m.origin, m.version) == ("b", 1)
    assert np.allclose(m.view().gram, gram_of(5, 1, 2))
    m.acknowledged(0, second.seq, "b", 2)
    assert m.adopt("b", 2, Statistics(gram_of(5, 2), np.zeros(D), 2, 29.0))
    assert np.allclose(m.view().gram, gram_of(5, 2, 1))


def test_an_upload_acknowledged_by_the_new_origin_waits_for_its_broadcast() -> None:
    m = member()
    m.adopt("a", 7, Statistics(gram_of(9), np.zeros(D), 1, 81.0))
    upload = sent(m, 1.0)
    m.acknowledged(0, upload.seq, "b", 3)
    assert m.adopt("b", 3, Statistics(gram_of(1), np.zeros(D), 1, 1.0))
    assert np.allclose(m.view().gram, gram_of(1))


@pytest.mark.parametrize("kind", ["offline", "online"])
def test_refused_rows_stay_with_the_device(kind: str) -> None:
    m = member()
    if kind == "offline":
        m.join(offline(1.0))
    else:
        m.observe(*rows(1.0))
    upload = m.take_upload()
    m.adopt("a", 1, Statistics(gram_of(9), np.zeros(D), 1, 81.0))
    assert not m.refused(0, upload.seq + 1)
    assert m.refused(0, upload.seq)
    assert not m.refused(0, upload.seq)
    assert m.version == 1  # what was held back is adopted: nothing is unanswered any more
    assert np.allclose(m.view().gram, gram_of(9, 1))
    assert not m.upload_due()


@pytest.mark.parametrize("kind", ["offline", "online"])
def test_refused_rows_may_go_up_again_under_another_number(kind: str) -> None:
    m = member()
    if kind == "offline":
        m.join(offline(1.0))
    else:
        m.observe(*rows(1.0))
    first = m.take_upload()
    assert m.refused(first.boot, first.seq, again=True)
    second = m.take_upload()
    assert (second.kind, second.seq) == (kind, 2)
    assert np.array_equal(second.statistics.gram, first.statistics.gram)


def test_the_strict_view_is_what_came_back_and_early_exits() -> None:
    m = member(view="strict")
    m.join(offline(1.0))
    assert np.allclose(m.view().gram, gram_of(1))
    m.acknowledged(0, m.take_upload().seq, "a", 1)
    sent(m, 2.0)
    m.observe(*rows(3.0))
    assert np.allclose(m.view().gram, gram_of(1))
    m.acknowledged(0, 2, "a", 2)
    assert np.allclose(m.view().gram, gram_of(1))
    m.adopt("a", 2, Statistics(gram_of(1, 2), np.zeros(D), 2, 5.0))
    assert np.allclose(m.view().gram, gram_of(1, 2))


def test_uploads_pause_when_no_broadcast_comes() -> None:
    m = member()
    for k in range(MAX_SHARED):
        m.acknowledged(0, sent(m, float(k + 1)).seq, "a", k + 1)
    m.observe(*rows(0.5))
    assert not m.upload_due()
    m.adopt("a", MAX_SHARED, Statistics(gram_of(*range(1, MAX_SHARED + 1)), np.zeros(D), 32, 1e6))
    assert m.upload_due()


BAD_GROUPS = [
    Statistics.zeros(D),
    Statistics.ridge(D + 1, 1.0),
    BAD,
    Statistics(np.full((D, D), np.nan), np.zeros(D), 1, 1.0),
]


@pytest.mark.parametrize("statistics", BAD_GROUPS)
def test_a_bad_broadcast_never_enters(statistics: Statistics) -> None:
    m = member()
    m.observe(*rows(1.0))
    before, epoch = m.view(), m.epoch
    with pytest.raises(ValueError, match=r"definite|dimension|NaN"):
        m.adopt("a", 1, statistics)
    assert np.array_equal(m.view().gram, before.gram)
    assert (m.origin, m.epoch) == (None, epoch)


def test_bad_rows_and_bad_experience_never_enter() -> None:
    m = member()
    for X, y in ((np.full((1, D), np.nan), np.ones(1)), (np.ones((1, D)), np.array([np.inf]))):
        with pytest.raises(ValueError, match="NaN"):
            m.observe(X, y)
    with pytest.raises(ValueError, match="semidefinite"):
        m.join(BAD)
    assert m.local.count == 0
    assert not m.joined


def busy_member() -> Member:
    m = member(boot=1)
    m.join(offline(1.0))
    m.acknowledged(1, m.take_upload().seq, "a", 1)
    m.adopt("a", 1, Statistics(gram_of(1), np.zeros(D), 1, 1.0))
    m.acknowledged(1, sent(m, 2.0).seq, "a", 3)
    m.refused(1, sent(m, 3.0).seq)
    sent(m, 4.0)
    m.adopt("a", 2, Statistics(gram_of(1, 7), np.zeros(D), 2, 50.0))
    m.observe(*rows(5.0))
    return m


def test_a_restarted_member_goes_on_where_it_was() -> None:
    before = busy_member()
    after = member(boot=2)
    after.load(copy.deepcopy(before.dump()))
    assert np.array_equal(after.view().gram, before.view().gram)
    assert after.in_flight is not None
    assert (after.in_flight.boot, after.in_flight.seq) == (1, 4)
    after.acknowledged(1, 4, "a", 4)
    assert np.allclose(after.view().gram, gram_of(1, 7, 2, 3, 4, 5))
    assert after.upload_due()
    assert (after.take_upload().boot, after.in_flight.seq) == (2, 1)


def test_a_member_with_unsent_experience_restarts() -> None:
    before = member()
    before.join(offline(1.0))
    after = member()
    after.load(before.dump())
    assert after.take_upload().kind == "offline"
    same_boot = member()
    same_boot.load(after.dump())
    same_boot.acknowledged(0, 1, "a", 1)
    assert sent(same_boot, 2.0).seq == 2


def test_a_bad_state_is_refused_whole() -> None:
    state = busy_member().dump()
    with pytest.raises(ValueError, match="repeat numbers"):
        member(boot=0).load(state)
    fresh = member(boot=2)
    for key, value in (("kept", BAD.dump()), ("local", Statistics.zeros(D + 1).dump())):
        with pytest.raises(ValueError, match=r"semidefinite|dimension"):
            fresh.load({**state, key: value})
        assert not fresh.joined
        assert fresh.in_flight is None


def group(max_installs: int = 10_000) -> Group:
    return Group(D, "a", regularisation=LAMBDA, max_installs=max_installs)


def test_a_group_adds_each_number_once() -> None:
    g = group()
    assert g.merge("d1", "i1", 0, 1, offline(1.0)) == Merged(1)
    assert g.merge("d1", "i1", 0, 1, offline(1.0)) == Duplicate(1)
    assert g.merge("d2", "i1", 0, 1, offline(2.0)) == Merged(2)
    assert g.merge("d1", "i1", 1, 1, offline(3.0)) == Merged(3)
    assert g.merge("d1", "i1", 0, 9, offline(4.0)) == Duplicate(3)  # an old boot
    assert g.merge("d1", "i2", 0, 1, offline(5.0)) == Merged(4)  # a wiped device is a new install
    assert np.allclose(g.statistics.gram, gram_of(1, 2, 3, 5))
    assert (g.members, g.version, g.statistics.count) == (2, 4, 4)


@pytest.mark.parametrize("statistics", BAD_GROUPS[1:])
def test_a_bad_upload_never_enters(statistics: Statistics) -> None:
    g = group()
    g.merge("d1", "i1", 0, 1, offline(1.0))
    before = g.statistics
    with pytest.raises(ValueError, match=r"semidefinite|dimension|NaN"):
        g.merge("d1", "i1", 0, 2, statistics)
    assert g.statistics is before
    assert g.version == 1
    assert g.merge("d1", "i1", 0, 2, offline(1.0)) == Merged(2)


def test_sums_that_would_overflow_are_refused() -> None:
    g = group()
    huge = Statistics(np.diag([1.7e308, 0, 0]), np.zeros(D), 1, 1.0)
    g.merge("d1", "i1", 0, 1, huge)
    with pytest.raises(ValueError, match="gram holds"):
        g.merge("d1", "i1", 0, 2, huge)
    assert g.version == 1


def test_a_full_group_refuses_newcomers_rather_than_forget() -> None:
    g = group(max_installs=1)
    g.merge("d1", "i1", 0, 1, offline(1.0))
    with pytest.raises(GroupFull) as refusal:
        g.merge("d2", "i2", 0, 1, offline(2.0))
    assert refusal.value.limit == 1
    assert g.merge("d1", "i1", 0, 2, offline(2.0)) == Merged(2)
    with pytest.raises(ValueError, match="room"):
        group(max_installs=0)


def test_a_group_restarts_to_the_bit() -> None:
    g = group()
    g.merge("d1", "i1", 0, 1, offline(1.0))
    g.merge("d2", "i2", 3, 4, offline(2.0, 3.0))
    again = Group.load(copy.deepcopy(g.dump()))
    assert np.array_equal(again.statistics.gram, g.statistics.gram)
    assert (again.origin, again.version, again.members) == ("a", 2, 2)
    assert again.merge("d2", "i2", 3, 4, offline(2.0, 3.0)) == Duplicate(2)
    assert again.merge("d1", "i1", 0, 2, offline(2.0)) == Merged(3)


def test_what_a_long_absence_gathered_goes_up_with_the_weight_of_one_upload() -> None:
    assert Bounds().rows == MAX_ROWS
    m = member()
    X, y = np.ones((1000, D)) * np.linspace(0.1, 1.0, D), np.full(1000, 0.2)
    for _ in range(150):
        m.observe(X, y)
    upload = m.take_upload()
    assert upload.statistics.count == MAX_ROWS
    assert np.allclose(upload.statistics.gram, MAX_ROWS * np.outer(X[0], X[0]))
    assert np.allclose(upload.statistics.moment, MAX_ROWS * 0.2 * X[0])
    assert isinstance(Group(D, "o").merge("d", "i", 0, 1, upload.statistics), Merged)
    assert m.local.count == 0


def test_a_group_that_is_definite_up_to_rounding_only_is_not_adopted() -> None:
    m = member()
    gram = np.eye(D)
    gram[-1, -2] = gram[-2, -1] = 1.0 + 1e-10
    with pytest.raises(ValueError, match="positive definite"):
        m.adopt("o", 1, Statistics(gram, np.zeros(D), 5, 1.0))
    assert m.version == 0
