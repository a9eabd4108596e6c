"""What is true about statistics on a simulated site, written down beside the protocol.

Every upload that was ever on the wire by its name, what each durable version of a group contains, and the
sums that follow from it. This file must never ask a session.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from aggregator.ledger import Ledger
from bandits.statistics import Statistics
from bus.messages import StatisticsUpload
from bus.statistics import unpack_symmetric
from bus.tensors import view
from tests.support.device_parts import MODEL, PLAN, SCHEMA

LAMBDA = 0.1
_ROUNDING = 1e-7  # of sums over some hundred rows of O(1)


class Name(NamedTuple):
    """An upload's name for ever, and whose group it belongs to."""

    type: str
    device: str
    install: str
    boot: int
    seq: int


class Books:
    """Every upload, and every durable version.

    Attributes:
        uploads: all that were ever put on the wire, by name.
        offline: the names of those that were early-exit experience.
        contents: what a version holds, by group and version; only of versions that were on the disk.
    """

    def __init__(self) -> None:
        self.uploads: dict[Name, Statistics] = {}
        self.offline: set[Name] = set()
        self.contents: dict[tuple[str, int], frozenset[Name]] = {}

    def sent(self, upload: StatisticsUpload, disk: dict[str, Any]) -> None:
        """Note an upload on the wire: its device's disk holds it, and its name means nothing else."""
        name = Name(upload.type, upload.device, upload.install, upload.boot, upload.seq)
        saved = disk["policies"]["fedlinucb_dw"]["member"]["in_flight"]
        assert saved is not None, f"{name} was sent before it was durable"
        assert (saved["boot"], saved["seq"]) == name[3:], f"{name} was sent before it was durable"
        moment = view(upload.moment, "float64", (upload.dimension,)).astype(np.float64)
        gram = unpack_symmetric(upload.gram, upload.dimension)
        statistics = Statistics(gram, moment, upload.count, upload.sum_squares)
        same(self.uploads.setdefault(name, statistics), statistics, f"{name} stands for two contents")
        if upload.phase == "offline":
            self.offline.add(name)

    def durable(self, ledger: Ledger) -> None:
        """Hold a ledger that is on the disk against the uploads: each group is its own, each once."""
        for key in ledger:
            assert key[1:] == (MODEL, SCHEMA, PLAN.dimension)
            group = ledger[key]
            inside = frozenset(n for n in self.uploads if n.type == key.group and contains(ledger, n))
            what = f"version {group.version} of {key.group}"
            assert len(inside) == group.version, f"{what} holds {len(inside)} uploads"
            same(self.sum_of(inside), group.statistics, what)
            for (type_, version), earlier in self.contents.items():
                assert type_ != key.group or version > group.version or earlier <= inside, what
            assert self.contents.setdefault((key.group, group.version), inside) == inside, what

    def sum_of(self, names: Iterable[Name]) -> Statistics:
        """Lambda I and these uploads."""
        total = Statistics.ridge(PLAN.dimension, LAMBDA)
        for name in names:
            total += self.uploads[name]
        return total

    def others_in(self, type_: str, version: int, device: str) -> Statistics:
        """Lambda I and what a version holds of everybody but this device."""
        inside = self.contents[type_, version] if version else frozenset()
        return self.sum_of(name for name in inside if name.device != device)


def contains(ledger: Ledger, name: Name) -> bool:
    """Whether an aggregator with this ledger would call an upload a repetition."""
    groups = (ledger[key] for key in ledger if key.group == name.type)
    return any(group.version_with(*name[1:]) is not None for group in groups)


def same_rows(one: Statistics, other: Statistics, what: str) -> None:
    """Assert that two sums are over the same rows, whatever these cost and in whichever order."""
    assert one.count == other.count, f"{what}: {one.count} rows, not {other.count}"
    assert np.abs(one.gram - other.gram).max() < _ROUNDING, f"{what}: gram {one.gram}, not {other.gram}"


def same(one: Statistics, other: Statistics, what: str) -> None:
    """Assert that two sums are over the same rows and costs, in whichever order."""
    same_rows(one, other, what)
    off = np.abs(one.moment - other.moment).max() + abs(one.sum_squares - other.sum_squares)
    assert off < _ROUNDING, f"{what}: moment {one.moment}, not {other.moment}"
