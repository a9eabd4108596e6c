"""Contexts: one row of numbers per arm, in which expected latency is linear. Pure.

Blocks (docs: LinUCB's x): front = work before the cut, encode, back = work after it, decode, link, offload.
Front and back are shares of the whole network's work of each kind, encode and decode are elements over input
elements times the codec's relative cost, link is bits over the bits of the raw uint8 input, offload is 1
where anything is sent. So every column is of order one.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from partition.graphs.work import WORK_COLUMNS, Work

Row = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

FRONT = tuple(f"front.{column}" for column in WORK_COLUMNS)
BACK = tuple(f"back.{column}" for column in WORK_COLUMNS)
ALL_COLUMNS = (*FRONT, "encode.elements", *BACK, "decode.elements", "link.bits", "offload")
# Always kept: a measured link or queue takes these columns over, so equal numbers do not mean equal meaning.
_KEPT_ALWAYS = ("link.bits", "offload")
SCHEMA_VERSION = 1
HASH_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Load:
    """What an arm asks of each party.

    Attributes:
        front: int64 (6,), work on the device.
        encode: elements encoded, times the codec's relative cost.
        decode: elements decoded, times the codec's relative cost.
        bits: expected on the wire.
        offload: whether anything is sent.
        added: int64 (6,), what the arm adds to the network on both sides together, such as a bottleneck's
            encoder, which is in `front` too, and decoder; None is nothing.
    """

    front: Work
    encode: float
    decode: float
    bits: float
    offload: bool
    added: Work | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ContextSchema:
    """What the columns mean; statistics may be added only where this agrees.

    Attributes:
        columns: names, length d.
        front: bool (d,): columns of the device's own part, front and encode.
        link: index of the link column.
        offload: index of the offload column.
        hash: 16 hexadecimal digits over columns, arms and scales; equal on every party that built the same
            model with the same codecs. Measured payload sizes do not enter it.
    """

    columns: tuple[str, ...]
    front: npt.NDArray[np.bool_]
    link: int
    offload: int
    hash: str

    def __len__(self) -> int:
        return len(self.columns)

    def row(self, full: Row) -> Row:
        """Return a row over `ALL_COLUMNS` reduced to this schema's columns."""
        return full[[ALL_COLUMNS.index(column) for column in self.columns]]

    def fixed(self, contexts: Matrix) -> tuple[str, ...]:
        """Return the columns beside offload that are as it is in every row of float64 (K, d).

        Such as the last layer's, which no cut takes from the edge worker: nobody can tell it from waiting.
        """
        offload = contexts[:, self.offload]
        same = (contexts == offload[:, None]).all(axis=0)
        return tuple(
            name for at, name in enumerate(self.columns) if same[at] and at not in {self.offload, self.link}
        )


def full_row(load: Load, total: Work, input_elements: int) -> Row:
    """Return float64 (16,) in the order of `ALL_COLUMNS`."""
    scale = np.maximum(total, 1).astype(np.float64)
    front = load.front / scale
    whole = total if load.added is None else total + load.added
    back = (whole - load.front) / scale if load.offload else np.zeros(len(total))
    sent = [load.bits / (8.0 * input_elements), float(load.offload)]
    return np.array([*front, load.encode / input_elements, *back, load.decode / input_elements, *sent])


def front_row(front: Work, total: Work) -> Row:
    """Return the row of a run that never leaves the device, such as an early exit."""
    return full_row(Load(front, 0.0, 0.0, 0.0, offload=False), total, 1)


def make(
    loads: Sequence[Load], total: Work, input_elements: int, labels: Sequence[str]
) -> tuple[ContextSchema, Matrix]:
    """Return the schema and float64 (K, d).

    Columns that are zero for every arm are dropped; so is a column equal to an earlier one of its block for
    every arm, since no experience can tell the two apart.

    Args:
        loads: one per arm.
        total: int64 (6,), the whole network's work, preprocessing included.
        input_elements: of one frame.
        labels: one per arm, for the hash.
    """
    full = np.stack([full_row(load, total, input_elements) for load in loads])
    kept: list[int] = []
    for index, column in enumerate(ALL_COLUMNS):
        block = column.partition(".")[0]
        twins = [
            k for k in kept if ALL_COLUMNS[k].startswith(block) and np.array_equal(full[:, k], full[:, index])
        ]
        if column in _KEPT_ALWAYS or (np.any(full[:, index]) and not twins):
            kept.append(index)
    columns = tuple(ALL_COLUMNS[index] for index in kept)
    front = np.array([column.startswith(("front.", "encode.")) for column in columns])
    front.flags.writeable = False
    said = f"{SCHEMA_VERSION} {columns} {tuple(labels)} {total.tolist()} {input_elements}"
    schema_hash = hashlib.sha256(said.encode()).hexdigest()[:HASH_DIGITS]
    schema = ContextSchema(columns, front, columns.index("link.bits"), columns.index("offload"), schema_hash)
    contexts = full[:, kept]
    contexts.flags.writeable = False
    return schema, contexts
