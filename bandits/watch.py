"""Who belongs to a group: each member's sum, and who is parked because what it reports differs from the rest.

A parked member's rows leave the group's sum and stay here, growing, until they agree with it again. So at
every moment the group holds

    base + the sum of every member that is not parked,    base = lambda I + what nobody is named for

Rules, each against a way to spoil the verdict:
- a member weighs no more than the median member in a comparison, so one that claims many rows is outvoted;
- each upload has its sender judged and one other in turn, so one that has fallen silent is judged too;
- where somebody differs, it is not the one looked at who goes but the one without whom the others agree best,
  which is the one farthest from them, then the next;
- nobody goes on the word of one: it must differ from the others whichever single one of them is left out, for
  what only two devices have rows of is between these two;
- never half of the members are parked: as many could be right as wrong. Then `trouble` says so, whoever
  was parked before stays so, and nobody is judged until each could have uploaded once more;
- statistics that are equal to the bit to an earlier upload of the device are a repetition under another
  number: clocks never give the same seconds twice.

What it will not do: publish, log, bound the number of members (its owner says which are watched).
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from bandits.arrays import Dump, Matrix, Vector
from bandits.guard import DEFAULT, Comparison, GuardSettings, Summary, compare, level_at
from bandits.statistics import Statistics

Columns = tuple[bool, ...]
"""d booleans, which columns mean the same for all devices of a type; empty where a device does not say."""

DIGEST_BYTES = 8

MOST_AT_ONCE = 8
"""Members parked by one judgement; it bounds the time that one upload to a large group can take."""

MOST_WITNESSES = 32
"""Others, those who differ most themselves, without whom a suspect is looked at again; bounds the same."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One member was parked, or is back.

    Attributes:
        device: its name. parked: or back.
        difference: relative, between its costs and those of the rest.
        tolerance: what is allowed. others: how many it was compared with.
    """

    device: str
    parked: bool
    difference: float
    tolerance: float
    others: int

    def __str__(self) -> str:
        """Return the sentence for people."""
        percent, allowed = round(100 * self.difference), round(100 * self.tolerance)
        if self.parked:
            return (
                f"{self.device} is parked: its costs differ by {percent} % from those of the {self.others} "
                f"others, {allowed} % is allowed; look at its declared type and its clock"
            )
        return (
            f"{self.device} is back: its costs differ by {percent} % from those of the {self.others} others"
        )


@dataclass(slots=True)
class _Member:
    """One device.

    Attributes:
        total: all its rows. columns: what it says is common. digests: of its latest uploads, newest last.
        looks: how often it was judged. parked: whether its rows are out of the group's sum.
        summary: of `total` over the columns that are compared; None until it is needed.
    """

    total: Statistics
    columns: Columns = ()
    digests: list[bytes] = field(default_factory=list)
    looks: int = 0
    parked: bool = False
    summary: Summary | None = None


class Watch:
    """The members of one group.

    Attributes:
        trouble: why nobody is parked although somebody differs, a sentence; empty when all is well.

    Args:
        base: what the group holds that no member is named for: lambda I at first.
        settings: of the test.
    """

    def __init__(self, base: Statistics, settings: GuardSettings = DEFAULT) -> None:
        self.trouble = ""
        self._base = base
        self._settings = settings
        self._members: dict[str, _Member] = {}
        self._columns: Columns = ()
        self._turn = 0
        self._peace = 0

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, device: str) -> bool:
        return device in self._members

    @property
    def parked(self) -> list[str]:
        """Names of the parked."""
        return [name for name, member in self._members.items() if member.parked]

    def is_parked(self, device: str) -> bool:
        """Whether a device's rows are kept out of the sum."""
        member = self._members.get(device)
        return member is not None and member.parked

    def total_of(self, device: str) -> Statistics:
        """Return all rows of a member.

        Raises:
            KeyError: it is none.
        """
        return self._members[device].total

    def sum(self) -> Statistics:
        """Return what the group holds, added up anew: subtracting would leave rounding behind."""
        total = self._base
        for member in self._members.values():
            if not member.parked:
                total += member.total
        return total

    def repeats(self, device: str, statistics: Statistics) -> bool:
        """Whether these very statistics came from the device before."""
        member = self._members.get(device)
        return member is not None and _digest(statistics) in member.digests

    def add_unnamed(self, statistics: Statistics) -> None:
        """Add rows of a device that is not watched."""
        self._base += statistics

    def add(self, device: str, statistics: Statistics, columns: Columns = ()) -> None:
        """Add rows of a member, new or known.

        Raises:
            ValueError: its sum overflows; nothing changes.
        """
        member = self._members.get(device) or _Member(Statistics.zeros(statistics.dimension))
        with np.errstate(over="ignore"):  # looked at right below
            total = member.total + statistics
        total.require_finite()
        self._members[device] = member
        member.total, member.columns, member.summary = total, columns, None
        member.digests = [*member.digests, _digest(statistics)][-self._settings.digests :]

    def judge(self, device: str) -> list[Verdict]:
        """Judge the member that has just uploaded, and one other; return what changed."""
        if self._peace > 0:
            self._peace -= 1
            return []
        self.trouble = ""
        if len(self._members) < self._settings.least_members or not self._agree_on_columns():
            return []
        rest = _Rest(self._summaries())
        if math.isnan(rest.variance):
            return []
        if self._members[device].parked:
            return self._take_back(device, rest)
        names = [name for name, member in self._members.items() if not member.parked]
        self._turn += 1
        for name in dict.fromkeys((device, names[self._turn % len(names)])):
            if self._excess(name, rest, rest.compare_without(name)) > 0.0:
                return self._park_the_worst(rest)
        return []

    def _park_the_worst(self, rest: "_Rest") -> list[Verdict]:
        """Park whoever differs most, until nobody does; nobody more if that were half of the members."""
        verdicts: list[Verdict] = []
        while len(verdicts) < MOST_AT_ONCE:
            worst = self._worst(rest)
            if worst is None:
                break
            if 2 * (len(self.parked) + 1) >= len(self._members):
                for verdict in verdicts:
                    self._members[verdict.device].parked = False
                self.trouble = (
                    f"half of the {len(self._members)} devices differ from the rest: nobody can tell who is "
                    "right, so nobody more is parked; look at the declared types"
                )
                self._peace = len(self._members)
                return []
            verdicts.append(self._verdict(worst, rest.compare_without(worst), rest, parked=True))
            self._members[worst].parked = True
            rest = _Rest(self._summaries())
        return verdicts

    def _worst(self, rest: "_Rest") -> str | None:
        """Return who is farthest from the others of those whom no single one accuses; None if nobody is."""
        found = {name: rest.compare_without(name) for name in rest.names}
        by_distance = sorted(rest.names, key=lambda name: -found[name].distance)
        suspects = [name for name in by_distance if self._excess(name, rest, found[name]) > 0.0]
        suspects = suspects[:MOST_AT_ONCE]
        return next((name for name in suspects if self._differs_from_all(name, by_distance, rest)), None)

    def _differs_from_all(self, name: str, witnesses: list[str], rest: "_Rest") -> bool:
        """Whether it still differs, whichever single witness is left out."""
        settings = self._settings
        level = level_at(self._members[name].looks, len(self._members), settings.level)
        others = [other for other in witnesses if other != name][:MOST_WITNESSES]
        without = (rest.compare_without(name, other) for other in others)
        return all(one.excess(settings.tolerance, rest.variance, level) > 0.0 for one in without)

    def _take_back(self, device: str, rest: "_Rest") -> list[Verdict]:
        """Let a parked member return if it differs by no more than half of what is allowed."""
        comparison = rest.compare(self._summary(device))
        if comparison.shared < 1 or comparison.difference > self._settings.tolerance / 2.0:
            return []
        self._members[device].parked = False
        return [self._verdict(device, comparison, rest, parked=False)]

    def _verdict(self, device: str, comparison: Comparison, rest: "_Rest", *, parked: bool) -> Verdict:
        others = len(rest.names) - int(device in rest.names)
        return Verdict(device, parked, comparison.difference, self._settings.tolerance, others)

    def _excess(self, name: str, rest: "_Rest", comparison: Comparison) -> float:
        """Judge one member that is not parked by its comparison with the rest; each time counts as a look."""
        member = self._members[name]
        member.looks += 1
        level = level_at(member.looks, len(self._members), self._settings.level)
        return comparison.excess(self._settings.tolerance, rest.variance, level)

    def _agree_on_columns(self) -> bool:
        """Take the columns that most members name; whether anybody names some."""
        votes = Counter(member.columns for member in self._members.values() if any(member.columns))
        if not votes:
            return False
        columns = votes.most_common(1)[0][0]
        if columns != self._columns:
            self._columns = columns
            for member in self._members.values():
                member.summary = None
        return True

    def _summary(self, name: str) -> Summary:
        member = self._members[name]
        if member.summary is None:
            member.summary = Summary.of(member.total, np.array(self._columns))
        return member.summary

    def _summaries(self) -> dict[str, Summary]:
        """Return the summaries of all who are not parked."""
        return {name: self._summary(name) for name, member in self._members.items() if not member.parked}

    def dump(self) -> Dump:
        """Return the whole state as primitives and arrays."""
        return {
            "base": self._base.dump(),
            "turn": self._turn,
            "members": [
                {
                    "device": name,
                    "total": member.total.dump(),
                    "columns": list(member.columns),
                    "digests": b"".join(member.digests),
                    "looks": member.looks,
                    "parked": member.parked,
                }
                for name, member in self._members.items()
            ],
        }

    @classmethod
    def load(cls, state: Dump, settings: GuardSettings = DEFAULT) -> Self:
        """Return the watch that `dump` was made from, under the settings of now.

        Raises:
            ValueError: invalid statistics.
        """
        watch = cls(Statistics.load(state["base"]), settings)
        watch._turn = int(state["turn"])
        for saved in state["members"]:
            watch._members[str(saved["device"])] = _Member(
                Statistics.load(saved["total"]),
                tuple(bool(column) for column in saved["columns"]),
                _split(bytes(saved["digests"]))[-settings.digests :],
                int(saved["looks"]),
                bool(saved["parked"]),
            )
        return watch


class _Rest:
    """All who are not parked, none heavier than the median of them.

    Attributes:
        names: of them.
        variance: the median of their residual variances, which no minority can move; NaN if nobody has rows
            enough.
    """

    def __init__(self, summaries: dict[str, Summary]) -> None:
        self.names = list(summaries)
        self._rows = float(np.median([one.rows for one in summaries.values()]))
        self._parts = {name: one.at_most(self._rows) for name, one in summaries.items()}
        self._gram: Matrix = np.sum([part.gram for part in self._parts.values()], axis=0)
        self._moment: Vector = np.sum([part.moment for part in self._parts.values()], axis=0)
        self.variance = _median(one.variance for one in summaries.values())

    def compare_without(self, name: str, left_out: str | None = None) -> Comparison:
        """Compare one of them with all others, or all but one."""
        part = self._parts[name]
        gram, moment = self._gram - part.gram, self._moment - part.moment
        if left_out is not None:
            other = self._parts[left_out]
            gram, moment = gram - other.gram, moment - other.moment
        return compare(part.gram, part.moment, gram, moment)

    def compare(self, summary: Summary) -> Comparison:
        """Compare somebody else with them."""
        part = summary.at_most(self._rows)
        return compare(part.gram, part.moment, self._gram, self._moment)


def _median(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.median(known)) if known else math.nan


def _digest(statistics: Statistics) -> bytes:
    said = statistics.gram.tobytes() + statistics.moment.tobytes()
    return hashlib.blake2b(said, digest_size=DIGEST_BYTES).digest()


def _split(digests: bytes) -> list[bytes]:
    return [digests[i : i + DIGEST_BYTES] for i in range(0, len(digests), DIGEST_BYTES)]
