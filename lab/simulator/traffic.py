"""What a team sends, counted as the real bus would send it.

A message here is one that carries statistics, once for each node that receives it: an upload is one, a
version that all members of a group receive is as many as they are. What is lost on its way is counted too.
Bytes are those of the real wire form, acknowledgements included.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from bus.messages import GroupParameters, StatisticsUpload, UploadAck
from bus.statistics import pack_symmetric
from bus.tensors import buffer_of
from bus.topics import ACK, GROUPS, STATS
from bus.wire import encode


@dataclass(slots=True)
class Traffic:
    """Counters."""

    messages: int = 0
    bytes: int = 0

    def upload(self, dimension: int, *, acknowledged: bool = True) -> None:
        """Count one upload, with its acknowledgement unless that is counted when it is sent."""
        self.messages += 1
        self.bytes += _upload_bytes(dimension) + acknowledged * _ack_bytes()

    def acknowledgement(self) -> None:
        """Count one acknowledgement."""
        self.bytes += _ack_bytes()

    def download(self, dimension: int, receivers: int = 1) -> None:
        """Count one set of parameters, or of rows, as often as it is received."""
        self.messages += receivers
        self.bytes += receivers * _group_bytes(dimension)


_HASH = "0123456789abcdef"


@cache
def _upload_bytes(dimension: int) -> int:
    """Size of an upload as it is published."""
    return len(
        encode(
            STATS,
            StatisticsUpload(
                device="device-1",
                type="type",
                model=_HASH,
                schema=_HASH,
                install=_HASH,
                boot=1,
                seq=1000,
                phase="online",
                dimension=dimension,
                gram=pack_symmetric(np.eye(dimension)),
                moment=buffer_of(np.zeros(dimension)),
                count=1000,
                sum_squares=1.5,
            ),
        )
    )


@cache
def _ack_bytes() -> int:
    """Size of an acknowledgement as it is published."""
    return len(
        encode(
            ACK,
            UploadAck(
                device="device-1", install=_HASH, boot=1, seq=1000, model=_HASH, origin=_HASH, version=1000
            ),
        )
    )


@cache
def _group_bytes(dimension: int) -> int:
    """Size of a group's parameters as they are published."""
    return len(
        encode(
            GROUPS,
            GroupParameters(
                group="type",
                model=_HASH,
                schema=_HASH,
                origin=_HASH,
                version=1000,
                dimension=dimension,
                gram=pack_symmetric(np.eye(dimension)),
                moment=buffer_of(np.zeros(dimension)),
                count=100_000,
                sum_squares=1.5,
                members=10,
            ),
        )
    )
