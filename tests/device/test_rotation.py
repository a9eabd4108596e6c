from collections import Counter
from itertools import pairwise

import pytest

from device.rotation import Rotation


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_each_plays_right_after_each_other_and_first_equally_often(count: int) -> None:
    names = tuple("abcdef"[:count])
    order = Rotation(names)
    frames = [order(seq) for seq in range(2 * count)]
    assert all(sorted(frame) == list(names) for frame in frames)
    after = Counter(pair for frame in frames for pair in pairwise(frame))
    assert len(after) == count * (count - 1)
    assert len(set(after.values())) <= 1
    assert set(Counter(frame[0] for frame in frames).values()) == {2}
    assert order(2 * count) == frames[0]
