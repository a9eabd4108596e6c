"""What an aggregator counts, and the metrics made of it. Bounded, whoever sends whatever."""

from typing import get_args

from bus.faults import Faults
from bus.messages import Refusal

REASONS: tuple[Refusal, ...] = get_args(Refusal)


class Tally:
    """Counters since start.

    Every upload is exactly one of: merged, a duplicate, refused, or unanswerable.
    """

    def __init__(self) -> None:
        self.uploads = 0
        self.merged = 0
        self.duplicates = 0
        self.unanswerable = 0
        self.acknowledged = 0
        self.snapshots = 0
        self.snapshot_failures = 0
        self.snapshot_bytes = 0
        self.broadcasts = 0
        self.parkings = 0
        self.returns = 0
        self.refused: dict[Refusal, int] = dict.fromkeys(REASONS, 0)
        self.faults = Faults()

    def ended(self) -> int:
        """How many uploads are accounted for."""
        return self.merged + self.duplicates + self.unanswerable + sum(self.refused.values())

    def metrics(self) -> dict[str, float]:
        """Return the leaves of a metrics message."""
        return {
            "uploads": self.uploads,
            "merged": self.merged,
            "duplicates": self.duplicates,
            "unanswerable": self.unanswerable,
            "acknowledged": self.acknowledged,
            "snapshots": self.snapshots,
            "snapshot_failures": self.snapshot_failures,
            "snapshot_bytes": self.snapshot_bytes,
            "broadcasts": self.broadcasts,
            "parkings": self.parkings,
            "returns": self.returns,
            **{f"refused_{reason}": count for reason, count in self.refused.items()},
            **self.faults.metrics(),
        }
