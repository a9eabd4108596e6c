"""What may run together: frames of different devices that ask for the same tail.

A tail of several frames is run once, which saves what each run costs besides its arithmetic. Nobody waits for
companions: a worker that is idle takes what is there, and while it computes the next ones gather by
themselves. So an edge worker that is not busy answers as if there were no batches.

How many it takes is a compromise, since the first of a batch waits for the last. A run of k frames takes
F + k P; b frames that are run k at a time have their answers after (F / k + P) (b + k) / 2 on average,
least at k = sqrt(b F / P). b is what waits if nothing more comes; under steady load more comes, and then the
most is best. Nobody knows; but the longer the workers have been busy the longer they are going to be, so b
is what waits and what was handed over since they had a rest.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bus.messages import ActivationRequest


@dataclass(frozen=True, slots=True)
class Batch:
    """What is known of a tail that takes several frames.

    Attributes:
        most: frames at once.
        fixed: F / P, what a run costs besides its frames, in frames.
    """

    most: int
    fixed: float


FORGIVEN = 0.1
"""A rest of this part of a busy period does not end it."""
Batches = Mapping[int, Batch]
"""By cut; the tail of a cut that is not named takes one frame."""
Tail = tuple[str, int, str, str, tuple[int, ...]]


def tail_of(request: ActivationRequest) -> Tail:
    """Return what a request needs to have in common with those that it runs with."""
    return (request.model, request.cut, request.codec, request.dtype, request.shape)


def size_of(batch: Batch | None, alike: int, handed_over: int) -> int:
    """Return how many frames to run together.

    Args:
        batch: of their tail; None for one that takes one.
        alike: frames that could, 1 or more.
        handed_over: frames of the busy period so far.
    """
    if batch is None:
        return 1
    return max(1, min(alike, batch.most, round(math.sqrt(batch.fixed * (alike + handed_over)))))


class BusyPeriod:
    """How long workers have had something to do, in frames; a short rest does not end it.

    Between an answer and the device's next frame a worker may rest for moments under the heaviest load.

    Attributes:
        frames: handed over so far.
    """

    def __init__(self) -> None:
        self.frames = 0
        self._began_s = 0.0
        self._rests_s: float | None = 0.0  # since when; None while all workers are busy

    def hand_over(self, now: float) -> None:
        """Note that work goes on, or that it begins anew."""
        if self._rests_s is not None and now - self._rests_s > FORGIVEN * (self._rests_s - self._began_s):
            self.frames, self._began_s = 0, now
        self._rests_s = None

    def rest(self, now: float) -> None:
        """Note that a worker is idle."""
        if self._rests_s is None:
            self._rests_s = now
