"""A constant piece of work, timed beside blocks: how fast this machine is at present."""

import hashlib
import statistics
import time

_WORK = bytes(2 << 20)
_RUNS = 5


def probe_ms() -> float:
    """Return the least milliseconds of some runs: what disturbs one alone is not in it."""
    return min(_once() for _ in range(_RUNS))


def _once() -> float:
    began = time.perf_counter()
    hashlib.sha256(_WORK).digest()
    return 1e3 * (time.perf_counter() - began)


class Drift:
    """Says when the machine has become slower than it usually was.

    Args:
        most: share that is too much.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._seen: list[float] = []

    def slower(self, probe: float) -> float:
        """Take a probe in; return how much slower than the median so far it was, as a share."""
        self._seen.append(probe)
        return probe / statistics.median(self._seen) - 1.0

    def too_much(self, share: float) -> bool:
        """Whether a block beside such a probe is to be played again."""
        return share > self._most
