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

FORMAT = 1
INSTALL_BYTES = 160  # largest record of one install and its device: two names, a hash, four integers
GROUP_BYTES = 40_000  # largest record of one group without its installs: d = 64


class GroupRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One group: its key, its sum, and which upload of each install is the last in it.

    Attributes:
        gram, moment: float64 little endian, C order, whole matrix.
        last: (device, install, boot, seq, version).
        rows: rows merged of each device.
        columns: what the columns mean, if a member has said so.
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
        gram=statistics["gram"].astype("<f8").tobytes(),
        moment=statistics["moment"].astype("<f8").tobytes(),
        count=statistics["count"],
        sum_squares=statistics["sum_squares"],
        last=[tuple(entry) for entry in dump["last"]],
        rows=dict(rows),
        columns=columns,
    )


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
        "statistics": {
            "gram": np.frombuffer(record.gram, "<f8").reshape(d, d),
            "moment": np.frombuffer(record.moment, "<f8").reshape(d),
            "count": record.count,
            "sum_squares": record.sum_squares,
        },
        "last": record.last,
    }


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
