"""Which frontiers are worth offering as cuts: a pure decision.

With latency = a * (work before the cut) + b * bytes + constant, b > 0 and a of either sign (an edge may be
faster than the device or, when loaded, slower), a place that sends more than some earlier place *and* more
than some later one is never best: for a > 0 the earlier one beats it, for a < 0 the later one. The last cut
sends nothing, so there is always a later one, and only the earlier ones need a look.
"""

from collections.abc import Sequence


def useful(sent: Sequence[int], macs: Sequence[int]) -> tuple[int, ...]:
    """Return the positions worth offering, the first and the last always among them.

    Of neighbours with equal MACs (a convolution, its norm, its activation) the smallest tensor stays, the
    latest of equal ones, since activations of rectifiers compress best. Of those, whichever is larger than
    an earlier one goes; equals stay, because equal raw bytes are not equal bytes once compressed.

    Args:
        sent: raw bytes of what crosses at each frontier, input first, output last.
        macs: before each frontier, never decreasing.
    """
    last = len(sent) - 1
    smallest: dict[int, int] = {}
    for position in range(1, last):
        rival = smallest.get(macs[position])
        if rival is None or sent[position] <= sent[rival]:
            smallest[macs[position]] = position
    # Before the first MAC nothing beats the input itself; after the last one nothing is left to offload.
    candidates = [place for work, place in smallest.items() if macs[0] < work < macs[last]]
    chosen = [0]
    for place in candidates:
        if sent[place] <= min(sent[kept] for kept in chosen):
            chosen.append(place)
    return (*chosen, last)
