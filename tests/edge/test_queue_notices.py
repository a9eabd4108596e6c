"""What an edge worker tells of its queue, and when."""

import pytest

from edge.queue_notices import LISTENED_S, QueueNotices

TAIL, OTHER = ("m", 0, "uint8", "uint8", (1,)), ("m", 5, "float32", "float32", (1,))


def _busy(*devices: str, workers: int = 1) -> QueueNotices:
    notices = QueueNotices(workers)
    for device in devices or ("cam-1", "cam-2"):
        notices.asked(device, 0.0)
    notices.ran(TAIL, 0.1)
    return notices


def test_a_job_waits_for_what_runs_and_for_the_line() -> None:
    notices = _busy()
    notices.ran(OTHER, 0.05)
    assert notices.free_s([], [], 1.0) == 0.0
    assert notices.free_s([(TAIL, 1, 0.96)], [], 1.0) == pytest.approx(0.06)
    assert notices.free_s([(TAIL, 2, 0.9)], [TAIL, OTHER], 1.0) == pytest.approx(0.1 + 0.15)
    assert notices.free_s([(TAIL, 1, 0.0)], [TAIL], 1.0) == pytest.approx(0.1)  # it takes longer than ever


def test_of_several_workers_the_first_that_is_free_counts() -> None:
    notices = _busy(workers=2)
    assert notices.free_s([(TAIL, 1, 0.95)], [], 1.0) == 0.0
    assert notices.free_s([(TAIL, 1, 0.95), (TAIL, 1, 1.0)], [TAIL], 1.0) == pytest.approx(0.05 + 0.05)


def test_a_tail_that_has_never_run_takes_what_tails_take() -> None:
    assert QueueNotices(1).free_s([(TAIL, 1, 1.0)], [TAIL], 1.0) == 0.0
    assert _busy().free_s([(OTHER, 1, 1.0)], [], 1.0) == pytest.approx(0.1)


def test_times_of_tails_follow_what_they_take() -> None:
    notices = _busy()
    for _ in range(40):
        notices.ran(TAIL, 0.3)
    assert notices.free_s([(TAIL, 1, 0.0)], [], 0.0) == pytest.approx(0.3, rel=0.01)


def test_a_moment_is_told_when_it_has_moved_and_not_while_it_comes_nearer() -> None:
    notices = _busy()
    assert notices.worth(0.2, 1.0)
    assert not notices.worth(0.1, 1.1)  # as every listener counts
    assert not notices.worth(0.0, 1.3)
    assert notices.worth(0.1, 1.4)
    assert not notices.worth(0.095, 1.41)  # by too little
    assert notices.worth(0.0, 1.42)  # sooner than was told


def test_nothing_is_told_to_one_device_alone() -> None:
    notices = _busy("cam-1")
    assert not notices.worth(0.2, 1.0)
    assert notices.due_s() is None
    notices.asked("cam-2", 1.1)
    assert notices.worth(0.2, 1.2)
    assert not notices.worth(0.4, 1.3 + LISTENED_S)  # both have gone


def test_the_more_listen_the_fewer_are_told_and_the_last_is_never_lost() -> None:
    notices = _busy(*(f"cam-{number}" for number in range(100)))
    assert notices.worth(0.2, 1.0)
    assert not notices.worth(0.5, 1.1)
    assert notices.due_s() == pytest.approx(1.2)
    assert notices.worth(0.5, 1.2)
    assert notices.due_s() is None


def test_strangers_make_nothing_grow_for_ever() -> None:
    notices = _busy()
    for number in range(5000):
        notices.asked(f"cam-{number}", 1.0)
        notices.ran(("m", number, "x", "x", (1,)), 0.1)
    assert len(notices._asked) <= 4096
    assert len(notices._mean_s) <= 1024
    notices.asked("cam-4999", 2.0)  # again: no second place
    assert len(notices._asked) <= 4096
