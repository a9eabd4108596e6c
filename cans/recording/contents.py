"""What a recording holds, in figures, and whether it is whole."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bus.recording.entries import Gap
from bus.recording.reading import Ending
from bus.topics import DEFAULT_PREFIX, NOBODY, Address, Topics
from cans.recording.opening import opened

NODES = ("edge", "device")
"""Levels of topics that name somebody."""
_MOST_NODES = 1000


@dataclass(slots=True)
class Row:
    """What a recording holds of one row of the topic table; of everything else together under "other"."""

    messages: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Contents:
    """What a recording holds.

    Attributes:
        about: of its origin. nodes: ids of edge workers and devices, by role. rows: by name of the topic.
            first_ns, last_ns: steady clock; 0 without an entry.
        gaps, lost, retained: counts. ending: how the file ends.
    """

    about: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, set[str]] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    first_ns: int = 0
    last_ns: int = 0
    gaps: list[Gap] = field(default_factory=list)
    lost: int = 0
    retained: int = 0
    ending: Ending | None = None

    @property
    def messages(self) -> int:
        """All of them."""
        return sum(row.messages for row in self.rows.values())


def contents_of(path: Path) -> Contents:
    """Read a recording to its end; memory does not grow with it, but for its gaps.

    Raises:
        ConfigurationError: as `opened`.
    """
    found = Contents()
    with opened(path, tells=False) as recording:
        found.about = recording.about
        topics = Topics(recording.about.get("prefix", DEFAULT_PREFIX))
        for entry in recording:
            found.first_ns = found.first_ns or entry.steady_ns
            found.last_ns = entry.steady_ns
            if isinstance(entry, Gap):
                found.gaps.append(entry)
                found.lost += entry.lost
                continue
            address = topics.parse(entry.topic)
            for role, id_ in _named(address):
                known = found.nodes.setdefault(role, set())
                if len(known) < _MOST_NODES:
                    known.add(id_)
            row = found.rows.setdefault(address.topic.name if address else "other", Row())
            row.messages += 1
            row.bytes += len(entry.payload)
            found.retained += entry.retained
        found.ending = recording.ending
    return found


def _named(address: Address | None) -> Iterator[tuple[str, str]]:
    """Yield whom a topic names, by role; who only asks whether he may speak (`cans doctor bus`) is nobody."""
    fields = address.fields if address else {}
    said = {fields["role"]: fields["id"]} if "role" in fields else fields
    for role in NODES:
        id_ = said.get(role, "")
        if id_ and not id_.startswith(NOBODY):
            yield role, id_


def verify(path: Path) -> str:
    """Return what is wrong with a file, in a sentence; empty where nothing is.

    Raises:
        ConfigurationError: as `opened`.
    """
    found = contents_of(path)
    assert found.ending is not None
    if found.ending.kind == "whole":
        return ""
    size = path.stat().st_size
    readable = f"its first {found.ending.at} of {size} bytes" if found.ending.at < size else "all of it"
    return (
        f"{path} is {found.ending.kind} ({found.ending.detail}): {found.messages} messages in {readable} can "
        f"be read; cans recording repair {path} OUT keeps them"
    )
