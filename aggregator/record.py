"""The snapshot's bytes: every group to the bit, and nothing that executes.

This file must never touch a disk; `bus.snapshot` adds the checksum and makes the write atomic.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from aggregator.keys import GroupKey
from bus.errors import ConfigurationError
from bus.messages import Columns, Hash, Name
from bus.statistics import pack_symmetric, packed_length, unpack_symmetric

FORMAT = 1
INSTALL_BYTES = 160  # largest record of one install and its device: two names, a hash, four integers
GROUP_BYTES = 40_000  # largest record of one group without its installs: d = 64


def member_bytes(dimension: int) -> int:
    """Return the size of the largest record of one device that the guard watches."""
    return 8 * (packed_length(dimension) + dimension) + 10 * dimension + 512


class MemberRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The sum of one device, for the guard.

    Attributes:
        gram: packed upper triangle. moment: as the group's. columns: 0 or 1 each, which are common.
        digests, looks, parked: of `bandits.watch`.
    """

    device: Name
    gram: bytes
    moment: bytes
    count: int
    sum_squares: float
    columns: list[bool]
    digests: bytes
    looks: int
    parked: bool


class WatchRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a group's guard must not forget: what no device is named for, and the sum of each that is."""

    gram: bytes
    moment: bytes
    count: int
    sum_squares: float
    turn: int
    members: list[MemberRecord]


class GroupRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One group: its key, its sum, and which upload of each install is the last in it.

    Attributes:
        gram, moment: float64 little endian, C order, whole matrix.
        last: (device, install, boot, seq, version).
        rows: rows merged of each device.
        columns: what the columns mean, if a member has said so.
        watch: the guard's; None in snapshots made without one.
    """

    group: Name
    model: Hash
    schema: Hash
    dimension: Annotated[int, Meta(ge=1, le=64)]
    regularisation: float
    version: int
    gram: bytes
    moment: bytes
    count: int
    sum_squares: float
    last: list[tuple[str, str, int, int, int]]
    rows: dict[str, int]
    columns: Columns | None = None
    watch: WatchRecord | None = None

    @property
    def key(self) -> GroupKey:
        """Its key."""
        return GroupKey(self.group, self.model, self.schema, self.dimension)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an aggregator must not forget."""

    format: int
    origin: Hash
    groups: list[GroupRecord]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Record)


def record_of(
    key: GroupKey, dump: Mapping[str, Any], rows: Mapping[str, int], columns: Columns | None = None
) -> GroupRecord:
    """Return the record of a group.

    Args:
        key: its key.
        dump: what `bandits.federation.Group.dump` returned.
        rows: rows merged of each device.
        columns: what the columns mean.
    """
    statistics = dump["statistics"]
    return GroupRecord(
        group=key.group,
        model=key.model,
        schema=key.schema,
        dimension=key.dimension,
        regularisation=dump["regularisation"],
        version=dump["version"],
        **_sums(statistics),
        last=[tuple(entry) for entry in dump["last"]],
        rows=dict(rows),
        columns=columns,
        watch=None if dump["watch"] is None else _watch_record(dump["watch"]),
    )


def _sums(statistics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of whole statistics."""
    return {
        "gram": statistics["gram"].astype("<f8").tobytes(),
        "moment": statistics["moment"].astype("<f8").tobytes(),
        "count": statistics["count"],
        "sum_squares": statistics["sum_squares"],
    }


def _watch_record(dump: Mapping[str, Any]) -> WatchRecord:
    members = [
        MemberRecord(**{**member, **_sums(total), "gram": bytes(pack_symmetric(total["gram"]))})
        for member, total in ((_without(one, "total"), one["total"]) for one in dump["members"])
    ]
    return WatchRecord(**_sums(dump["base"]), turn=dump["turn"], members=members)


def _without(mapping: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key != name}


def dump_of(record: GroupRecord, origin: str, max_installs: int) -> dict[str, Any]:
    """Return what `bandits.federation.Group.load` takes.

    Raises:
        ValueError: arrays of another size than the dimension says.
    """
    d = record.dimension
    return {
        "origin": origin,
        "regularisation": record.regularisation,
        "max_installs": max_installs,
        "version": record.version,
        "statistics": _whole(record, d),
        "watch": None if record.watch is None else _watch_dump(record.watch, d),
        "last": record.last,
    }


def _whole(record: GroupRecord | WatchRecord, dimension: int) -> dict[str, Any]:
    return {
        "gram": np.frombuffer(record.gram, "<f8").reshape(dimension, dimension),
        "moment": np.frombuffer(record.moment, "<f8").reshape(dimension),
        "count": record.count,
        "sum_squares": record.sum_squares,
    }


def _watch_dump(record: WatchRecord, dimension: int) -> dict[str, Any]:
    members = []
    for member in record.members:
        total = {
            "gram": unpack_symmetric(member.gram, dimension),
            "moment": np.frombuffer(member.moment, "<f8").reshape(dimension),
            "count": member.count,
            "sum_squares": member.sum_squares,
        }
        kept = {name: getattr(member, name) for name in ("device", "columns", "digests", "looks", "parked")}
        members.append({**kept, "total": total})
    return {"base": _whole(record, dimension), "turn": record.turn, "members": members}


def encode_record(record: Record) -> bytes:
    """Return the snapshot's payload."""
    return _ENCODER.encode(record)


def decode_record(payload: bytes) -> Record:
    """Return what a snapshot holds.

    Raises:
        ConfigurationError: another program's or a newer version's.
    """
    try:
        record = _DECODER.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(
            f"the aggregator's snapshot holds something else ({error}): move it away to start afresh"
        ) from None
    if record.format != FORMAT:
        raise ConfigurationError(
            f"the aggregator's snapshot has format {record.format}, this version reads {FORMAT}: "
            "use the version that wrote it, or move it away to start afresh"
        )
    return record
