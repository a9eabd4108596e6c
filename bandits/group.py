"""The aggregator's half of the federation: one sum a group, each upload in it exactly once.

What it does for you: refuses statistics that no rows can have; recognises an upload it has seen, whoever
repeats it and however late; numbers each state of the sum so that members can tell what it contains.

What it will not do: judge who may belong to the group, compare magnitudes with what is plausible for a
device type, publish anything.

What its runtime must do: write `dump()` durably before the acknowledgement leaves, so that a restart
never forgets what a device has already dropped.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from bandits.arrays import Dump
from bandits.statistics import Statistics


@dataclass(frozen=True, slots=True)
class Merged:
    """The upload is in the sum; `version` is the first that contains it."""

    version: int


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The upload was in the sum already; `version` contains it."""

    version: int


class GroupFull(ValueError):  # noqa: N818 - "full" says it; the tree of errors belongs to the bus
    """More installs than the group may remember; forgetting one would let its upload in twice.

    Attributes:
        limit: installs remembered.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"the group remembers {limit} installs already")
        self.limit = limit


@dataclass(frozen=True, slots=True)
class _Last:
    """The highest upload of one install that is in the sum."""

    boot: int
    seq: int
    version: int


class Group:
    """lambda I + the sum of every offline and online upload, with its version.

    Args:
        dimension: d of the context schema.
        origin: random id made with this state; members distrust versions of another origin.
        regularisation: lambda.
        max_installs: (device, install) pairs remembered.

    Raises:
        ValueError: regularisation not positive, or no room for an install.
    """

    def __init__(
        self, dimension: int, origin: str, *, regularisation: float = 0.1, max_installs: int = 10_000
    ) -> None:
        if max_installs < 1:
            raise ValueError("a group needs room for one install")
        self.origin = origin
        self.max_installs = max_installs
        self.regularisation = regularisation
        self.version = 0
        self.statistics = Statistics.ridge(dimension, regularisation)
        self._last: dict[tuple[str, str], _Last] = {}

    @property
    def members(self) -> int:
        """Devices whose uploads are in the sum."""
        return len({device for device, _ in self._last})

    @property
    def installs(self) -> int:
        """(device, install) pairs remembered."""
        return len(self._last)

    def version_with(self, device: str, install: str, boot: int, seq: int) -> int | None:
        """Return a version that contains this upload, or None if it was never merged."""
        last = self._last.get((device, install))
        return last.version if last is not None and (boot, seq) <= (last.boot, last.seq) else None

    def merge(
        self, device: str, install: str, boot: int, seq: int, statistics: Statistics
    ) -> Merged | Duplicate:
        """Add an upload unless it, or a later one of the same install, is in already.

        Numbers of one install only grow and at most one upload is in flight, so one pair (boot, seq) an
        install is enough to recognise every repetition.

        Raises:
            ValueError: statistics of another dimension, not finite, or that no rows can have.
            GroupFull: a new install, and no room to remember it. Nothing changes in either case.
        """
        key = (device, install)
        contained = self.version_with(device, install, boot, seq)
        if contained is not None:
            return Duplicate(contained)
        if key not in self._last and len(self._last) >= self.max_installs:
            raise GroupFull(self.max_installs)
        if statistics.dimension != self.statistics.dimension:
            raise ValueError(
                f"statistics of dimension {statistics.dimension}, the group has {self.statistics.dimension}"
            )
        statistics.require_valid()
        with np.errstate(over="ignore"):  # looked at right below
            total = self.statistics + statistics
        total.require_finite()
        self.statistics = total
        self.version += 1
        self._last[key] = _Last(boot, seq, self.version)
        return Merged(self.version)

    def dump(self) -> Dump:
        """Return the whole state as primitives and arrays."""
        return {
            "origin": self.origin,
            "regularisation": self.regularisation,
            "max_installs": self.max_installs,
            "version": self.version,
            "statistics": self.statistics.dump(),
            "last": [
                [device, install, last.boot, last.seq, last.version]
                for (device, install), last in self._last.items()
            ],
        }

    @classmethod
    def load(cls, state: Dump) -> Self:
        """Return the group that `dump` was made from, to the bit.

        Raises:
            ValueError: invalid statistics.
        """
        statistics = Statistics.load(state["statistics"])
        group = cls(
            statistics.dimension,
            str(state["origin"]),
            regularisation=float(state["regularisation"]),
            max_installs=int(state["max_installs"]),
        )
        group.version = int(state["version"])
        group.statistics = statistics
        for device, install, boot, seq, version in state["last"]:
            group._last[str(device), str(install)] = _Last(int(boot), int(seq), int(version))
        return group
