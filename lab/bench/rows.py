"""What a benchmark says: one row a figure, with its limit where it has one."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, Literal

from device.rotation import Rotation


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        name: what was measured, unique in a run.
        value: the figure. unit: of the value.
        limit: what it must keep, None if it only informs.
        bound: whether the limit is the most or the least allowed.
    """

    name: str
    value: float
    unit: str
    limit: float | None = None
    bound: Literal["most", "least"] = "most"

    @property
    def ok(self) -> bool:
        """Whether the limit is kept; true where there is none."""
        if self.limit is None:
            return True
        return self.value <= self.limit if self.bound == "most" else self.value >= self.limit

    def to_json(self) -> dict[str, Any]:
        """The row as `out/bench.json` holds it."""
        fields = asdict(self)
        del fields["bound"]
        return {**fields, "value": round(self.value, 6), "ok": self.ok}


def alternate(subjects: Sequence[Callable[[], object]], *, rounds: int, warm: int = 2) -> list[list[float]]:
    """Time callables in turn, so that a busy moment of the machine hits all of them alike.

    Args:
        subjects: called once a round each, in an order that puts each after each other equally often.
        rounds: timed rounds.
        warm: rounds before that are not timed.

    Returns:
        Seconds of every timed call, one list a subject.
    """
    times: list[list[float]] = [[] for _ in subjects]
    order = Rotation(range(len(subjects)))
    for turn in range(warm + rounds):
        for which in order(turn):
            start = perf_counter()
            subjects[which]()
            took = perf_counter() - start
            if turn >= warm:
                times[which].append(took)
    return times


def median_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """Ratio of medians."""
    return statistics.median(numerator) / statistics.median(denominator)
