"""Devices that alter what they upload; what they believe themselves stays true.

Every lie is one that rows within the plausibility bounds could have: the gram stays what the device played.
"""

from dataclasses import replace

from bandits.statistics import Statistics
from bandits.uploads import Upload
from lab.simulator import spec
from lab.simulator.world import World


class Liar:
    """One lying device.

    Args:
        lies: how.
    """

    def __init__(self, lies: spec.Lies) -> None:
        self._lies = lies
        self._uploads = 0
        self._old: Statistics | None = None

    def altered(self, upload: Upload) -> Upload:
        """Return an upload of the same number that lies."""
        return replace(upload, statistics=self.alter(upload.statistics))

    def alter(self, truth: Statistics) -> Statistics:
        """Return what goes up in the place of an upload."""
        self._uploads += 1
        match self._lies.kind:
            case "sign_flip":
                return _scaled(truth, -1.0)
            case "scale":
                return _scaled(truth, self._lies.factor)
            case "slow_drift":
                return _scaled(truth, self._lies.factor**self._uploads)
            case "replay":
                self._old = self._old or truth
                return self._old


def lies_of(world: World) -> dict[int, Liar]:
    """Return the liars of a world, by device."""
    return {device: Liar(lies) for device, lies in enumerate(world.lies) if lies is not None}


def _scaled(truth: Statistics, factor: float) -> Statistics:
    """Return the statistics of the same rows, every cost times `factor`."""
    return Statistics(truth.gram, factor * truth.moment, truth.count, factor * factor * truth.sum_squares)
