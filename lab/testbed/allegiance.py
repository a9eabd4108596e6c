"""Whom a testbed's device obeys: one coordinator at a time, told from others by the mark of its orders. Pure.

A device outlives coordinators. The first order of another one is obeyed where the last one has let the device
go, or has been silent for `SILENCE_S`; else it is refused, so that of two at once the second ends. What is
still on its way from a coordinator that is gone changes nothing any more.
"""

from collections import deque
from enum import Enum

from lab.testbed.orders import Keep, Leave, Order

SILENCE_S = 30.0
"""A coordinator that has not been heard for so long is gone: three `Keep` in a row were lost."""
KEEP_S = 10.0
"""How often a coordinator lets itself be heard."""
# Marks of coordinators that are gone. An order does not stay on its way while so many come and go.
_REMEMBERED = 64


class Heard(Enum):
    """What an order is to a device."""

    NEW = "new"
    """To be carried out."""
    CHANGED = "changed"
    """To be carried out, and the first of another coordinator: what the last one wanted is to end before."""
    AGAIN = "again"
    """The one before: to be answered as before."""
    OLD = "old"
    """Nothing to do, nothing to say."""
    BUSY = "busy"
    """Of another coordinator, while there is one: to be refused."""


class Allegiance:
    """Of one device.

    Attributes:
        heard_s: when its coordinator was last heard.
    """

    def __init__(self) -> None:
        self.heard_s = 0.0
        self._mark: str | None = None
        self._number = 0
        self._free = True
        self._gone: deque[str] = deque(maxlen=_REMEMBERED)

    def hear(self, order: Order, now_s: float) -> Heard:
        """Take an order in; `now_s` is of a clock that only goes forward."""
        if order.mark == self._mark:
            return self._of_mine(order, now_s)
        if isinstance(order, Keep) or order.mark in self._gone:
            return Heard.OLD
        if not self._free and now_s - self.heard_s < SILENCE_S:
            return Heard.BUSY
        changed = self._mark is not None
        if self._mark is not None:
            self._gone.append(self._mark)
        self._mark = order.mark
        self._take(order, now_s)
        return Heard.CHANGED if changed else Heard.NEW

    def _of_mine(self, order: Order, now_s: float) -> Heard:
        self.heard_s = now_s
        if isinstance(order, Keep) or order.number < self._number:
            return Heard.OLD
        if order.number == self._number:
            return Heard.AGAIN
        self._take(order, now_s)
        return Heard.NEW

    def _take(self, order: Order, now_s: float) -> None:
        self._number, self.heard_s = order.number, now_s
        self._free = isinstance(order, Leave)
