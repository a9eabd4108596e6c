"""When to write a snapshot. One is written at a time; what changes meanwhile goes into the next.

A full disk stops nothing: it is said once, tried again, and said once when it works again.
This file must never look into a snapshot.
"""

from collections.abc import Callable

from device.commands import Command, Note, SaveSnapshot

RETRY_S = 5.0


class Saver:
    """Numbers snapshots and knows the last one that is durable.

    Attributes:
        taken: number of the latest snapshot taken; what changes after it is only in a later one.
        durable: number of the latest snapshot known to be on the disk.
        failing: the disk refused the latest attempt.

    Args:
        dump: returns the bytes of a snapshot of the present state.
        period_s: a change is on the disk at most this much later.
    """

    def __init__(self, dump: Callable[[], bytes], period_s: float) -> None:
        self._dump = dump
        self._period_s = period_s
        self._writing = False
        self._due_at: float | None = None
        self.taken = 0
        self.durable = 0
        self.failing = False

    @property
    def due_at(self) -> float | None:
        """When to be woken; None while nothing changed, or a snapshot is being written."""
        return None if self._writing else self._due_at

    @property
    def settled(self) -> bool:
        """Whether everything is on the disk, or cannot be put there."""
        return self.failing or (not self._writing and self._due_at is None)

    def changed(self, now: float) -> None:
        """Something was learnt: write it within the period."""
        if self._due_at is None:
            self._due_at = now + self._period_s

    def needed(self, now: float) -> None:
        """Something must be durable before it may be sent: write it at once, unless the disk refuses."""
        if not self.failing or self._due_at is None:
            self._due_at = now

    def advance(self, now: float) -> list[Command]:
        """Take a snapshot if one is due and none is being written."""
        if self._writing or self._due_at is None or now < self._due_at:
            return []
        self.taken += 1
        self._writing, self._due_at = True, None
        return [SaveSnapshot(self.taken, self._dump())]

    def saved(self, number: int) -> list[Command]:
        """Snapshot `number` is on the disk."""
        if not self._writing or number != self.taken:
            return []
        self._writing = False
        self.durable = number
        was_failing, self.failing = self.failing, False
        return [Note("info", "snapshots_work_again")] if was_failing else []

    def failed(self, number: int, reason: str, now: float) -> list[Command]:
        """Snapshot `number` could not be written: try again later."""
        if not self._writing or number != self.taken:
            return []
        self._writing = False
        self._due_at = now + RETRY_S
        was_failing, self.failing = self.failing, True
        if was_failing:
            return []
        return [Note("error", "snapshots_fail_so_no_statistics_are_sent", (("reason", reason),))]
