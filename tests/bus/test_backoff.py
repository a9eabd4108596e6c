from hypothesis import given
from hypothesis import strategies as st

from bus.backoff import Backoff


def test_delays_double_up_to_the_cap_and_start_anew_after_a_link_that_lasted() -> None:
    backoff = Backoff(lambda: 1.0, first_s=1.0, cap_s=5.0, settled_s=3.0)
    assert [backoff.delay_s() for _ in range(4)] == [1.0, 2.0, 4.0, 5.0]
    backoff.link_lasted(2.9)
    assert backoff.delay_s() == 5.0
    backoff.link_lasted(3.0)
    assert backoff.delay_s() == 1.0


@given(st.lists(st.floats(0.0, 1.0, exclude_max=True), min_size=1, max_size=20))
def test_a_delay_is_never_zero_nor_over_the_cap(draws: list[float]) -> None:
    backoff = Backoff(iter(draws).__next__, first_s=0.5, cap_s=7.0)
    for _ in draws:
        assert 0.25 <= backoff.delay_s() <= 7.0
