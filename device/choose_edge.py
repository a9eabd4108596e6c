"""Which edge worker gets the next request: the less loaded of two drawn at random.

Always taking the least loaded sends every device to the same worker until its next announcement; a
uniform draw ignores load. Two random choices need no coordination, and with n requests thrown at n
workers bring the largest load from about ln n / ln ln n down to ln ln n / ln 2 (Azar, Broder, Karlin and
Upfal, "Balanced allocations", 1994; Mitzenmacher 2001). Loads are old when they are used, which two
choices bear and "the least" does not.
"""

from collections.abc import Callable, Mapping


def choose_edge(loads: Mapping[str, float], draw: Callable[[], float]) -> str | None:
    """Return the id of the edge worker to ask, or None if there is none.

    Args:
        loads: announced load by id.
        draw: a uniform number in [0, 1) at each call; called twice when there are two or more.
    """
    ids = sorted(loads)
    if len(ids) < 2:
        return ids[0] if ids else None
    first = int(draw() * len(ids))
    # The second is drawn among the others, so that a pair is never the same worker twice.
    second = int(draw() * (len(ids) - 1))
    second += second >= first
    return min(ids[first], ids[second], key=lambda edge: (loads[edge], edge != ids[first]))
