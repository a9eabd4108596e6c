"""The aggregator's half of the federation: one sum a group, each upload in it exactly once.

What it does for you: refuses statistics that no rows can have; recognises an upload it has seen, whoever
repeats it and however late; numbers each state of the sum so that members can tell what it contains.

With a guard it keeps each member's sum too, and leaves out of the group's whoever differs from the rest
(`watch.py`).

What it will not do: compare magnitudes with what is plausible for a device type, publish anything.

What its runtime must do: write `dump()` durably before the acknowledgement leaves, so that a restart
never forgets what a device has already dropped.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from bandits.arrays import Dump
from bandits.guard import GuardSettings
from bandits.statistics import Statistics
from bandits.watch import Columns, Verdict, Watch


@dataclass(frozen=True, slots=True)
class Merged:
    """The upload is in the sum, or in its parked sender's; `version` is the first that contains it.

    Attributes:
        verdicts: who was parked, or is back, because of it.
    """

    version: int
    verdicts: tuple[Verdict, ...] = ()


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


class Repeated(ValueError):  # noqa: N818 - as above
    """The same statistics, to the bit, as an earlier upload of the device under another number."""


@dataclass(frozen=True, slots=True)
class _Last:
    """The highest upload of one install that is in the sum."""

    boot: int
    seq: int
    version: int


class Group:
    """lambda I + the sum of every offline and online upload of whoever is not parked, with its version.

    Args:
        dimension: d of the context schema.
        origin: random id made with this state; members distrust versions of another origin.
        regularisation: lambda.
        max_installs: (device, install) pairs remembered.
        guard: how members are judged, None for not at all.

    Attributes:
        watch: the members' own sums; None without a guard.

    Raises:
        ValueError: regularisation not positive, or no room for an install.
    """

    def __init__(
        self,
        dimension: int,
        origin: str,
        *,
        regularisation: float = 0.1,
        max_installs: int = 10_000,
        guard: GuardSettings | None = None,
    ) -> None:
        if max_installs < 1:
            raise ValueError("a group needs room for one install")
        self.origin = origin
        self.max_installs = max_installs
        self.regularisation = regularisation
        self.version = 0
        self.statistics = Statistics.ridge(dimension, regularisation)
        self.watch = None if guard is None else Watch(self.statistics, guard)
        self._last: dict[tuple[str, str], _Last] = {}

    @property
    def members(self) -> int:
        """Devices whose uploads are in the sum."""
        parked = 0 if self.watch is None else len(self.watch.parked)
        return len({device for device, _ in self._last}) - parked

    @property
    def installs(self) -> int:
        """(device, install) pairs remembered."""
        return len(self._last)

    def version_with(self, device: str, install: str, boot: int, seq: int) -> int | None:
        """Return a version that contains this upload, or None if it was never merged."""
        last = self._last.get((device, install))
        return last.version if last is not None and (boot, seq) <= (last.boot, last.seq) else None

    def is_parked(self, device: str) -> bool:
        """Whether the guard keeps a device's rows out of the sum."""
        return self.watch is not None and self.watch.is_parked(device)

    def merge(
        self,
        device: str,
        install: str,
        boot: int,
        seq: int,
        statistics: Statistics,
        *,
        columns: Columns = (),
        named: bool = True,
    ) -> Merged | Duplicate:
        """Add an upload unless it, or a later one of the same install, is in already.

        Numbers of one install only grow and at most one upload is in flight, so one pair (boot, seq) an
        install is enough to recognise every repetition.

        Args:
            device: name of the sender.
            install: id of its state folder.
            boot: start of that install.
            seq: upload of that start.
            statistics: the delta.
            columns: which mean the same for all devices of the group, as the sender says; for the guard.
            named: whether the guard may keep a sum of this sender; without one it cannot be parked.

        Raises:
            ValueError: statistics of another dimension, not finite, or that no rows can have.
            Repeated: to the guard they are an earlier upload under another number.
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
        verdicts = self._add(device, statistics, columns, named=named)
        self.version += 1
        self._last[key] = _Last(boot, seq, self.version)
        return Merged(self.version, tuple(verdicts))

    def _add(self, device: str, statistics: Statistics, columns: Columns, *, named: bool) -> list[Verdict]:
        """Add rows to the sums that they belong to, or change nothing and raise."""
        watch = self.watch
        if watch is not None and watch.repeats(device, statistics):
            raise Repeated(f"{device} sent the same statistics before, under another number")
        total = self.statistics
        if not self.is_parked(device):
            with np.errstate(over="ignore"):  # looked at right below
                total = total + statistics
            total.require_finite()
        if watch is None:
            self.statistics = total
            return []
        if not (named or device in watch):
            watch.add_unnamed(statistics)
            self.statistics = total
            return []
        watch.add(device, statistics, columns)
        verdicts = watch.judge(device)
        self.statistics = watch.sum() if verdicts else total
        return verdicts

    def dump(self) -> Dump:
        """Return the whole state as primitives and arrays."""
        return {
            "origin": self.origin,
            "regularisation": self.regularisation,
            "max_installs": self.max_installs,
            "version": self.version,
            "statistics": self.statistics.dump(),
            "watch": None if self.watch is None else self.watch.dump(),
            "last": [
                [device, install, last.boot, last.seq, last.version]
                for (device, install), last in self._last.items()
            ],
        }

    @classmethod
    def load(cls, state: Dump, guard: GuardSettings | None = None) -> Self:
        """Return the group that `dump` was made from, to the bit.

        A guard that is new here knows no member yet: what is in the sum stays in it. Where there is none any
        more, the parked are back in the sum.

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
        watched = state.get("watch")
        if guard is not None:
            group.watch = Watch(statistics, guard) if watched is None else Watch.load(watched, guard)
        elif watched is not None:
            group._forget_members(Watch.load(watched))
        for device, install, boot, seq, version in state["last"]:
            group._last[str(device), str(install)] = _Last(int(boot), int(seq), int(version))
        return group

    def _forget_members(self, watch: Watch) -> None:
        """Take back whoever was parked, as a version of its own."""
        if watch.parked:
            for device in watch.parked:
                self.statistics += watch.total_of(device)
            self.version += 1
