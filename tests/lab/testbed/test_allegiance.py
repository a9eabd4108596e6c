"""Whom a device obeys, whatever comes late, twice or from two at once."""

from hypothesis import given
from hypothesis import strategies as st

from lab.testbed.allegiance import SILENCE_S, Allegiance, Heard
from lab.testbed.orders import Enlist, Keep, Leave, Order, Play

A, B = "a" * 16, "b" * 16


def play(mark: str, number: int) -> Play:
    return Play(mark=mark, number=number, policy="ans", first=0, frames=1)


def hear(device: Allegiance, *orders: tuple[float, Order]) -> list[Heard]:
    return [device.hear(order, now_s) for now_s, order in orders]


def test_orders_of_one_coordinator_are_carried_out_once_and_in_order() -> None:
    found = hear(
        Allegiance(),
        (0.0, Enlist(mark=A, number=1)),
        (1.0, play(A, 2)),
        (2.0, play(A, 2)),
        (3.0, play(A, 3)),
        (4.0, play(A, 2)),
    )
    assert found == [Heard.NEW, Heard.NEW, Heard.AGAIN, Heard.NEW, Heard.OLD]


def test_a_second_coordinator_is_refused_while_the_first_is_heard() -> None:
    device = Allegiance()
    device.hear(play(A, 7), 0.0)
    assert device.hear(Enlist(mark=B, number=1), SILENCE_S - 1.0) is Heard.BUSY
    assert device.hear(Keep(mark=A, number=0), SILENCE_S - 1.0) is Heard.OLD
    assert device.hear(Enlist(mark=B, number=1), 2 * SILENCE_S - 2.0) is Heard.BUSY
    assert device.heard_s == SILENCE_S - 1.0
    assert device.hear(play(A, 8), 2 * SILENCE_S) is Heard.NEW


def test_after_silence_the_next_one_is_obeyed_from_its_first_number_on_and_the_last_one_never_again() -> None:
    device = Allegiance()
    found = hear(
        device,
        (0.0, play(A, 70)),
        (SILENCE_S, Enlist(mark=B, number=1)),
        (SILENCE_S, play(A, 71)),
        (9 * SILENCE_S, play(A, 72)),
        (9 * SILENCE_S, play(B, 2)),
    )
    assert found == [Heard.NEW, Heard.CHANGED, Heard.OLD, Heard.OLD, Heard.NEW]


def test_who_was_let_go_is_free_at_once_and_says_so_again() -> None:
    device = Allegiance()
    leave = Leave(mark=A, number=3, stay=True)
    assert hear(device, (0.0, play(A, 2)), (0.1, leave), (0.2, leave)) == [Heard.NEW, Heard.NEW, Heard.AGAIN]
    assert device.hear(Enlist(mark=B, number=1), 0.3) is Heard.CHANGED


def test_nobody_is_kept_by_a_word_that_asks_for_nothing() -> None:
    device = Allegiance()
    assert device.hear(Keep(mark=B, number=0), 0.0) is Heard.OLD
    assert device.hear(play(A, 1), 0.0) is Heard.NEW


@given(
    st.lists(
        st.tuples(st.floats(0.0, 60.0), st.sampled_from([A, B, "c" * 16]), st.integers(1, 9), st.booleans()),
        max_size=40,
    )
)
def test_no_order_is_carried_out_twice_and_no_mark_comes_back(
    said: list[tuple[float, str, int, bool]],
) -> None:
    device, now_s = Allegiance(), 0.0
    done: list[tuple[str, int]] = []
    for later_s, mark, number, leaves in said:
        now_s += later_s
        order = Leave(mark=mark, number=number, stay=True) if leaves else play(mark, number)
        if device.hear(order, now_s) in {Heard.NEW, Heard.CHANGED}:
            done.append((mark, number))
    assert len(done) == len(set(done))
    marks = [mark for at, (mark, _) in enumerate(done) if at == 0 or done[at - 1][0] != mark]
    assert len(marks) == len(set(marks))
