"""What peers did wrong, counted by kind, and which of it is worth a line in the log.

There are as many counters as kinds, whoever sends whatever: a flood of bad messages costs no memory and
one line a second and kind.
This file must never remember a message, a device or a detail.
"""

from bus.errors import REMOTE_FAULTS, RemoteFault

LOG_PERIOD_S = 1.0


class Faults:
    """Counters of `RemoteProtocolError` by kind."""

    def __init__(self) -> None:
        self._counts: dict[RemoteFault, int] = dict.fromkeys(REMOTE_FAULTS, 0)
        self._logged_at: dict[RemoteFault, float] = {}

    def count(self, fault: RemoteFault) -> None:
        """Count one fault of that kind."""
        self._counts[fault] += 1

    def worth_logging(self, fault: RemoteFault, now: float) -> bool:
        """Whether to write this one to the log: the first of its kind within `LOG_PERIOD_S`.

        Args:
            fault: its kind.
            now: seconds on any monotonic clock, the same one each time.
        """
        last = self._logged_at.get(fault)
        if last is not None and now - last < LOG_PERIOD_S:
            return False
        self._logged_at[fault] = now
        return True

    def of(self, fault: RemoteFault) -> int:
        """How many of that kind so far."""
        return self._counts[fault]

    @property
    def total(self) -> int:
        """How many of all kinds so far."""
        return sum(self._counts.values())

    def metrics(self) -> dict[str, float]:
        """Return the leaves for a metrics message: `fault_<kind>`, and their sum as `faults`."""
        leaves: dict[str, float] = {f"fault_{kind}": count for kind, count in self._counts.items()}
        return {"faults": self.total, **leaves}
