"""A network as numbers: arms, contexts, and what each part took one machine. The simulator needs no more.

A file of `cans profile` is read as one; `lab/tables/` holds those that experiments name, the bare tables of
before profiles said how they were made. Times are medians of one machine at rest; an experiment scales them.
"""

import functools
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from bus.errors import ConfigurationError
from partition.profiles.profile_file import Profile, decode_profile

TABLES = Path(__file__).parent / "tables"


class NetworkTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One network, K arms, d context columns.

    Attributes:
        name, weights: of the network, for people.
        machine: what measured, for people.
        columns: names of the context columns, length d.
        front: d booleans, columns of the device's own work.
        arms: labels, length K.
        contexts: K rows of d numbers.
        head_ms, encode_ms: per arm, on the device.
        payload_bytes: per arm, mean over the built-in photographs.
        edge_ms: per arm, decoding and tail.
        exit_contexts: one row of d numbers an early exit.
        exit_ms: per early exit.
    """

    name: str
    weights: str
    machine: str
    columns: tuple[str, ...]
    front: tuple[bool, ...]
    arms: tuple[str, ...]
    contexts: tuple[tuple[float, ...], ...]
    head_ms: tuple[float, ...]
    encode_ms: tuple[float, ...]
    payload_bytes: tuple[float, ...]
    edge_ms: tuple[float, ...]
    exit_contexts: tuple[tuple[float, ...], ...]
    exit_ms: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what does not fit together.

        Raises:
            ValueError: no column of what is sent, lists of other lengths, or numbers that are not finite.
        """
        K, d = len(self.arms), len(self.columns)  # noqa: N806 - as in the literature
        per_arm = (self.contexts, self.head_ms, self.encode_ms, self.payload_bytes, self.edge_ms)
        fits = all(len(one) == K for one in per_arm) and len(self.front) == d and K and d
        rows = (*self.contexts, *self.exit_contexts)
        if "link.bits" not in self.columns:
            raise ValueError("it has no column link.bits, which says what an arm sends")
        if not fits or any(len(row) != d for row in rows) or len(self.exit_ms) != len(self.exit_contexts):
            raise ValueError("its lists do not have the lengths of its arms and columns")
        numbers = [*self.head_ms, *self.encode_ms, *self.payload_bytes, *self.edge_ms, *self.exit_ms]
        if not np.isfinite(rows).all() or not np.isfinite(numbers).all() or min(numbers) < 0.0:
            raise ValueError("it holds numbers that are negative or not finite")

    def matrix(self) -> npt.NDArray[np.float64]:
        """Return the contexts, shape (K, d)."""
        return np.array(self.contexts)

    @property
    def units_per_bit(self) -> float:
        """Units of the column link.bits that a bit is; 0 where no arm sends anything."""
        most = int(np.argmax(self.payload_bytes))
        bits = 8.0 * self.payload_bytes[most]
        return self.contexts[most][self.columns.index("link.bits")] / bits if bits else 0.0


class _Version(msgspec.Struct, frozen=True):
    """What tells a profile from a bare table, all else skipped."""

    version: int = 1


@functools.cache
def load_table(name: str) -> NetworkTable:
    """Read a table of `lab/tables/`, or a file: of `cans profile`, or a bare table.

    Raises:
        ConfigurationError: there is none of the name, or it is no table.
    """
    path = TABLES / f"{name}.json"
    if not path.is_file():
        path = Path(name)
    try:
        payload = path.read_bytes()
        if msgspec.json.decode(payload, type=_Version).version == 1:
            return msgspec.json.decode(payload, type=NetworkTable)
        return _table_of(decode_profile(payload))
    except OSError:
        known = ", ".join(sorted(table.stem for table in TABLES.glob("*.json")))
        raise ConfigurationError(
            f"there is no network table {name!r}: choose from {known}, or give a file of cans profile"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} is no network table: {error}") from None


def _table_of(profile: Profile) -> NetworkTable:
    """Return what the simulator needs of a profile."""
    return NetworkTable(
        name=profile.name,
        weights=profile.weights,
        machine=f"{profile.machine.processor}, {profile.conditions.threads} torch thread(s)",
        columns=profile.columns,
        front=profile.front,
        arms=tuple(arm.label for arm in profile.arms),
        contexts=tuple(arm.context for arm in profile.arms),
        head_ms=tuple(arm.head.median_ms for arm in profile.arms),
        encode_ms=tuple(arm.encode.median_ms for arm in profile.arms),
        payload_bytes=tuple(arm.payload_bytes for arm in profile.arms),
        edge_ms=tuple(arm.decode.median_ms + arm.tail.median_ms for arm in profile.arms),
        exit_contexts=tuple(each.context for each in profile.exits),
        exit_ms=tuple(each.time.median_ms for each in profile.exits),
    )
