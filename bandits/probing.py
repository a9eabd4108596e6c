"""When a device that keeps everything to itself should look at the link again.

The device-only arm's context has no link, back or offload part, so playing it teaches nothing about them:
whatever made offloading look slow is believed for ever, even after the link has improved. After a run of
device-only frames one frame is therefore forced to offload. The gap doubles each time offloading was no
better than believed, so that a device with a hopeless link pays ever less, and is short again after
each surprise.
"""

from bandits.arrays import Dump


class ProbeSchedule:
    """Counts device-only frames and says when to offload one.

    Args:
        first_gap_frames: device-only frames before the first forced one.
        largest_gap_frames: bound of the doubling: after a change, at most this many frames pass unnoticed.

    Raises:
        ValueError: gaps out of order.
    """

    def __init__(self, first_gap_frames: int, largest_gap_frames: int) -> None:
        if not 1 <= first_gap_frames <= largest_gap_frames:
            raise ValueError("1 <= first_gap_frames <= largest_gap_frames expected")
        self._first = first_gap_frames
        self._largest = largest_gap_frames
        self._gap = first_gap_frames
        self._stayed = 0
        self._probing = False

    def due(self) -> bool:
        """Whether the next frame must offload."""
        return self._stayed >= self._gap

    def played(self, *, offloads: bool, forced: bool) -> None:
        """Note what the latest frame did."""
        self._probing = forced
        self._stayed = 0 if offloads else self._stayed + 1
        if offloads and not forced:
            self._gap = self._first

    def learned(self, *, cheaper: bool) -> None:
        """Note whether a forced frame cost less than believed; other frames say nothing."""
        if not self._probing:
            return
        self._probing = False
        self._gap = self._first if cheaper else min(2 * self._gap, self._largest)

    def dump(self) -> Dump:
        """Return the counters."""
        return {"gap": self._gap, "stayed": self._stayed, "probing": self._probing}

    def load(self, state: Dump) -> None:
        """Take over what `dump` returned."""
        self._gap = min(max(int(state["gap"]), self._first), self._largest)
        self._stayed = int(state["stayed"])
        self._probing = bool(state["probing"])
