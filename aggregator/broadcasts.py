"""When a group's parameters go out: newest wins, one at a time, not too often, all again after a reconnect.

Only what is durable is offered here; what this file holds back is superseded by what comes after it, so
nothing but the newest parameters of each group is kept. This file must never read a sum.
"""

from dataclasses import dataclass

from aggregator.keys import GroupKey
from bus.messages import GroupParameters


@dataclass(slots=True)
class _Slot:
    """One group.

    Attributes:
        newest: what members should hear. waiting: whether they have not been sent it yet.
        in_flight: whether a publish has not ended. earliest_s: when the next may go.
    """

    newest: GroupParameters
    waiting: bool = True
    in_flight: bool = False
    earliest_s: float = 0.0


class Broadcasts:
    """The newest parameters of every group.

    Args:
        period_s: shortest time between two broadcasts of a group.
        retry_s: how long to wait after one that failed.
    """

    def __init__(self, period_s: float, retry_s: float = 1.0) -> None:
        self._period_s = period_s
        self._retry_s = retry_s
        self._slots: dict[GroupKey, _Slot] = {}
        self._link_up = False

    def offer(self, key: GroupKey, parameters: GroupParameters) -> None:
        """Put newer parameters in the place of whatever waited."""
        slot = self._slots.pop(key, None) or _Slot(parameters)
        slot.newest, slot.waiting = parameters, True
        # Last in order: should two schemas share a topic, the one learnt latest is what stays retained.
        self._slots[key] = slot

    def link_up(self) -> None:
        """Send everything again: the broker may have lost what it retained."""
        self._link_up = True
        for slot in self._slots.values():
            slot.waiting, slot.earliest_s = True, 0.0

    def link_down(self) -> None:
        """Hold everything back."""
        self._link_up = False

    def ended(self, key: GroupKey, *, succeeded: bool, now: float) -> None:
        """A publish has ended."""
        slot = self._slots[key]
        slot.in_flight = False
        if not succeeded:
            slot.waiting, slot.earliest_s = True, now + self._retry_s

    def take(self, now: float) -> list[tuple[GroupKey, GroupParameters]]:
        """Return what is to be published now."""
        if not self._link_up:
            return []
        due: list[tuple[GroupKey, GroupParameters]] = []
        for key, slot in self._slots.items():
            if slot.waiting and not slot.in_flight and slot.earliest_s <= now:
                slot.waiting, slot.in_flight, slot.earliest_s = False, True, now + self._period_s
                due.append((key, slot.newest))
        return due

    def next_deadline(self) -> float | None:
        """When `take` will return something if nothing else happens."""
        if not self._link_up:
            return None
        times = (slot.earliest_s for slot in self._slots.values() if slot.waiting and not slot.in_flight)
        return min(times, default=None)
