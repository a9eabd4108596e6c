"""A network as numbers: arms, contexts, and what each part took one machine. The simulator needs no more.

`cans profile --out table.json` writes one; `lab/tables/` holds those that experiments name. Times are
medians of one machine at rest; an experiment scales them.
"""

import functools
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from bus.errors import ConfigurationError

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

    def save(self, path: Path) -> None:
        """Write it as JSON, one field a line.

        Raises:
            ConfigurationError: it cannot be written there.
        """
        try:
            path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=0) + b"\n")
        except OSError as error:
            raise ConfigurationError(f"cannot write the network table {path}: {error.strerror}") from None


@functools.cache
def load_table(name: str) -> NetworkTable:
    """Read a table of `lab/tables/`, or a file.

    Raises:
        ConfigurationError: there is none of the name, or it is no table.
    """
    path = TABLES / f"{name}.json"
    if not path.is_file():
        path = Path(name)
    try:
        return msgspec.json.decode(path.read_bytes(), type=NetworkTable)
    except OSError:
        known = ", ".join(sorted(table.stem for table in TABLES.glob("*.json")))
        raise ConfigurationError(
            f"there is no network table {name!r}: choose from {known}, or give a file of cans profile"
        ) from None
    except (msgspec.DecodeError, ValueError) as error:
        raise ConfigurationError(f"{path} is no network table: {error}") from None


def measure_table(model_name: str, *, seed: int = 0, repeats: int = 40) -> NetworkTable:
    """Measure this machine; takes some seconds and wants them undisturbed."""
    import platform  # noqa: PLC0415 - only where something is measured

    from lab.emulation import measure  # noqa: PLC0415
    from partition.partitioned import build  # noqa: PLC0415 - torch
    from partition.zoo import load_model  # noqa: PLC0415

    model = build(load_model(model_name, seed=seed))
    times = measure(model_name, seed=seed, repeats=repeats)
    return NetworkTable(
        name=model.name,
        weights=model.weights_label,
        machine=f"{platform.machine()}, one torch thread",
        columns=model.schema.columns,
        front=tuple(bool(front) for front in model.schema.front),
        arms=times.labels,
        contexts=tuple(tuple(row) for row in model.contexts.tolist()),
        head_ms=times.head_ms,
        encode_ms=times.encode_ms,
        payload_bytes=times.payload_bytes,
        edge_ms=times.edge_ms,
        exit_contexts=tuple(tuple(model.exit_context(e).tolist()) for e in range(model.exit_count)),
        exit_ms=times.exit_ms,
    )
