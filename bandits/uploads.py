"""What travels between a member and its group, and where it is kept meanwhile: plain values.

Their rules are in `member.py`.
"""

from dataclasses import dataclass
from typing import Literal, Self

from bandits.arrays import Dump
from bandits.statistics import Statistics

Kind = Literal["offline", "online"]


@dataclass(frozen=True, slots=True, eq=False)
class Upload:
    """One numbered delta; (boot, seq) grow lexicographically within an install."""

    boot: int
    seq: int
    kind: Kind
    statistics: Statistics

    def dump(self) -> Dump:
        """Return primitives and arrays."""
        return {
            "boot": self.boot,
            "seq": self.seq,
            "kind": self.kind,
            "statistics": self.statistics.dump(),
        }

    @classmethod
    def load(cls, state: Dump) -> Self:
        """Return what `dump` was made from."""
        kind: Kind = "offline" if state["kind"] == "offline" else "online"
        return cls(int(state["boot"]), int(state["seq"]), kind, Statistics.load(state["statistics"]))


@dataclass(frozen=True, slots=True, eq=False)
class Broadcast:
    """A version of the group, adopted or held back."""

    origin: str
    version: int
    statistics: Statistics

    def dump(self) -> Dump:
        """Return primitives and arrays."""
        return {"origin": self.origin, "version": self.version, "statistics": self.statistics.dump()}

    @classmethod
    def load(cls, state: Dump | None) -> Self | None:
        """Return what `dump` was made from, None of None."""
        if state is None:
            return None
        return cls(str(state["origin"]), int(state["version"]), Statistics.load(state["statistics"]))


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """An upload merged by `origin`, contained in its versions from `version` on."""

    origin: str
    version: int
    upload: Upload

    def dump(self) -> Dump:
        """Return primitives and arrays."""
        return {"origin": self.origin, "version": self.version, "upload": self.upload.dump()}

    @classmethod
    def load(cls, state: Dump) -> Self:
        """Return what `dump` was made from."""
        return cls(str(state["origin"]), int(state["version"]), Upload.load(state["upload"]))
