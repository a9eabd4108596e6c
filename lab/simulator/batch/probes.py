"""`bandits.probing`, for many lanes at once."""

import numpy as np

from bandits.arrays import Mask
from lab.simulator.batch.regressions import Lanes


class Probes:
    """Device-only frames of N lanes, and after how many one is made to offload."""

    def __init__(self, lanes: int, first_gap_frames: int, largest_gap_frames: int) -> None:
        self._first, self._largest = first_gap_frames, largest_gap_frames
        self._gap = np.full(lanes, first_gap_frames, dtype=np.int32)
        self._stayed = np.zeros(lanes, dtype=np.int32)

    def due(self, lanes: Lanes) -> Mask:
        """Whether the next frame must offload."""
        return self._stayed[lanes] >= self._gap[lanes]

    def played(self, lanes: Lanes, offloads: Mask, forced: Mask, cheaper: Mask) -> None:
        """Note a frame of each lane: forced ones cost less than believed, or did not."""
        longer = np.where(cheaper, self._first, np.minimum(2 * self._gap[lanes], self._largest))
        gap = np.where(forced, longer, np.where(offloads, self._first, self._gap[lanes]))
        self._gap[lanes] = gap
        self._stayed[lanes] = np.where(offloads, 0, self._stayed[lanes] + 1)
