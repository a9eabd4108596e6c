"""The groups of one aggregator: what may enter a sum, and what is in it.

Policy of the bounds. No bound ever pushes something out: forgetting an install would let its last upload
in twice, and forgetting a group would lose what its devices have dropped. So what is over a bound is
refused as `overloaded`, for good: a new group beyond `groups`, a new install beyond `installs` of its
group, and rows of a device beyond `device_rows`, which caps the weight that any one device can have.
The guard keeps a sum of each device; beyond `guard_bytes` of them further devices are merged unwatched.
A repetition of what is in the sum is recognised before any bound is looked at, so it is never refused.

This file must never publish or save; it says what the state is and whoever holds it makes it durable.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from aggregator.keys import GroupKey
from aggregator.record import (
    FORMAT,
    GROUP_BYTES,
    INSTALL_BYTES,
    Record,
    decode_record,
    dump_of,
    encode_record,
    member_bytes,
    record_of,
)
from bandits.federation import Duplicate, Group, GroupFull, GuardSettings, Merged
from bandits.statistics import Statistics
from bus.errors import ConfigurationError, RemoteFault, RemoteProtocolError
from bus.messages import Columns, GroupParameters, Refusal, StatisticsUpload
from bus.statistics import Bounds, pack_symmetric, require_plausible, unpack_symmetric
from bus.tensors import buffer_of, view

DEFAULT_BOUNDS = Bounds()


class Refused(Exception):  # noqa: N818 - what became of the upload
    """The upload will never be merged.

    Attributes:
        reason, detail: what its device is told.
        fault: the counter, if it is the peer's fault.
    """

    def __init__(self, reason: Refusal, detail: str, fault: RemoteFault | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Refusal = reason
        self.detail = detail
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one aggregator.

    Attributes:
        groups: groups held.
        installs: (device, install) pairs of one group.
        device_rows: rows of one device in one group, over its whole life.
        upload: what one upload may claim.
        regularisation: lambda of a new group.
        guard: how devices are held against the rest of their group, None for not at all.
        guard_bytes: for the sums of single devices, of all groups.
        snapshot_bytes: largest snapshot that can be read back.
    """

    groups: int = 64
    installs: int = 1_000
    device_rows: int = 10_000_000_000  # 15 years at ten frames a second, two rows each
    upload: Bounds = DEFAULT_BOUNDS
    regularisation: float = 0.1
    guard: GuardSettings | None = None
    guard_bytes: int = 32 * 1024 * 1024
    snapshot_bytes: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        """Refuse bounds whose snapshot could not be read back."""
        largest = self.groups * (GROUP_BYTES + self.installs * INSTALL_BYTES)
        largest += 0 if self.guard is None else self.guard_bytes
        if self.groups < 1 or self.installs < 1 or largest > self.snapshot_bytes:
            raise ConfigurationError(
                f"{self.groups} groups of {self.installs} installs make a snapshot of up to {largest} bytes, "
                f"{self.snapshot_bytes} are allowed: lower one of them, and keep both above 0"
            )


class Ledger:
    """All groups.

    Args:
        origin: random id of this state, 16 hexadecimal digits, made at its first start.
        limits: its bounds.
    """

    def __init__(self, origin: str, limits: Limits) -> None:
        self.origin = origin
        self._limits = limits
        self._groups: dict[GroupKey, Group] = {}
        self._rows: dict[GroupKey, dict[str, int]] = {}
        self._columns: dict[GroupKey, Columns] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def __iter__(self) -> Iterator[GroupKey]:
        return iter(self._groups)

    def __getitem__(self, key: GroupKey) -> Group:
        return self._groups[key]

    @property
    def installs(self) -> int:
        """Installs remembered in all groups."""
        return sum(group.installs for group in self._groups.values())

    @property
    def rows(self) -> int:
        """Rows in all sums."""
        return sum(group.statistics.count for group in self._groups.values())

    @property
    def parked(self) -> list[str]:
        """Names of the devices that are kept out of their groups."""
        return [name for group in self._groups.values() if group.watch for name in group.watch.parked]

    @property
    def troubles(self) -> list[str]:
        """What keeps the guard from judging, a sentence a group."""
        return [
            f"group {key.group}: {group.watch.trouble}"
            for key, group in self._groups.items()
            if group.watch is not None and group.watch.trouble
        ]

    @property
    def _watched_bytes(self) -> int:
        watches = ((key, group.watch) for key, group in self._groups.items())
        return sum(len(watch) * member_bytes(key.dimension) for key, watch in watches if watch is not None)

    def merge(self, key: GroupKey, upload: StatisticsUpload) -> Merged | Duplicate:
        """Add an upload to its group, once.

        Raises:
            Refused: over a bound; nothing changes.
            RemoteProtocolError: `tensor`, `not_finite` or `implausible`; nothing changes.
        """
        group = self._groups.get(key)
        name = (upload.device, upload.install, upload.boot, upload.seq)
        if group is not None and (version := group.version_with(*name)) is not None:
            self._note_columns(key, upload)  # its device has started again, and says more than the first time
            return Duplicate(version)
        statistics = self._statistics_of(upload)
        if group is None:
            if len(self._groups) >= self._limits.groups:
                raise Refused("overloaded", f"{len(self._groups)} groups are as many as are held here")
            group = Group(
                key.dimension,
                self.origin,
                regularisation=self._limits.regularisation,
                max_installs=self._limits.installs,
                guard=self._limits.guard,
            )
        device_rows = self._rows.get(key, {}).get(upload.device, 0) + upload.count
        if device_rows > self._limits.device_rows:
            raise Refused("overloaded", f"a device may weigh {self._limits.device_rows} rows in its group")
        columns = tuple(column == "1" for column in upload.common)
        room = self._watched_bytes + member_bytes(key.dimension) <= self._limits.guard_bytes
        try:
            merged = group.merge(*name, statistics, columns=columns, named=room)
        except GroupFull as full:
            raise Refused("overloaded", str(full)) from None
        except ValueError as error:
            raise Refused("implausible", str(error), "implausible") from None
        self._groups[key] = group
        self._rows.setdefault(key, {})[upload.device] = device_rows
        self._note_columns(key, upload)
        return merged

    def _note_columns(self, key: GroupKey, upload: StatisticsUpload) -> None:
        """Believe the first to say what the columns mean: all honest members of a schema say the same."""
        if isinstance(upload.columns, Columns) and len(upload.columns.names) == key.dimension:
            self._columns.setdefault(key, upload.columns)

    def columns(self, key: GroupKey) -> Columns | None:
        """Return what a group's columns mean, None if no member has said so."""
        return self._columns.get(key)

    def _statistics_of(self, upload: StatisticsUpload) -> Statistics:
        """Return what an upload holds, if honest rows can have it."""
        if len(upload.common) not in {0, upload.dimension}:
            raise RemoteProtocolError("tensor", f"{len(upload.common)} columns are named common or not")
        gram = unpack_symmetric(upload.gram, upload.dimension)
        moment = view(upload.moment, "float64", (upload.dimension,))
        require_plausible(gram, moment, upload.count, upload.sum_squares, self._limits.upload)
        return Statistics(gram, moment, upload.count, upload.sum_squares)

    def parameters(self, key: GroupKey) -> GroupParameters:
        """Return a group's broadcast as it is now."""
        group = self._groups[key]
        return GroupParameters(
            group=key.group,
            model=key.model,
            schema=key.schema,
            origin=self.origin,
            version=group.version,
            dimension=key.dimension,
            gram=pack_symmetric(group.statistics.gram),
            moment=buffer_of(group.statistics.moment),
            count=group.statistics.count,
            sum_squares=group.statistics.sum_squares,
            members=group.members,
        )

    def dump(self) -> bytes:
        """Return the whole state as the bytes of a snapshot."""
        groups = [
            record_of(key, group.dump(), self._rows[key], self.columns(key))
            for key, group in self._groups.items()
        ]
        return encode_record(Record(format=FORMAT, origin=self.origin, groups=groups))

    @classmethod
    def load(cls, payload: bytes, limits: Limits) -> "Ledger":
        """Return the state that `dump` was made from, under the bounds of now.

        Groups keep the regularisation they began with: it is in their sums.

        Raises:
            ConfigurationError: not a snapshot of an aggregator.
        """
        record = decode_record(payload)
        ledger = cls(record.origin, limits)
        for saved in record.groups:
            try:
                group = Group.load(dump_of(saved, record.origin, limits.installs), limits.guard)
            except ValueError as error:
                raise ConfigurationError(
                    f"group {saved.group} of the aggregator's snapshot is damaged ({error}): "
                    "move the snapshot away to start afresh"
                ) from None
            ledger._groups[saved.key] = group
            ledger._rows[saved.key] = dict(saved.rows)
            if saved.columns is not None:
                ledger._columns[saved.key] = saved.columns
        return ledger
