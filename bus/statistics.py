"""Sufficient statistics on the wire: packed form and the bounds that honest ones obey.

The statistics of rows (x_i, y_i) are gram = sum x x^T, moment = sum y x, sum_squares = sum y^2 and their
count. What is checked here is size: finite, and no larger than so many rows within the bounds can make it.
That some real rows have these sums at all (the gram symmetric and PSD, the moment in its range) is looked at
where they are added, once (`bandits.statistics`). Both together leave a liar no more than rows within the
bounds could do.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from bus.errors import RemoteProtocolError
from bus.tensors import Payload, buffer_of, view

Array = npt.NDArray[np.float64]
MAX_DIMENSION = 64


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a delta may claim.

    Attributes:
        row_norm_squared: largest |x|^2 of one row; contexts are scaled to O(1), 4 a column is generous.
        cost_s: largest cost of one row, seconds.
        rows: largest count of one upload, which is also the weight cap of one message; members keep to it.
    """

    row_norm_squared: float = 256.0
    cost_s: float = 120.0
    rows: int = 100_000


DEFAULT_BOUNDS = Bounds()


def packed_length(dimension: int) -> int:
    """Number of float64 of a packed symmetric matrix."""
    return dimension * (dimension + 1) // 2


def pack_symmetric(gram: Array) -> memoryview:
    """Return the upper triangle, row by row, as little-endian float64 bytes.

    Args:
        gram: shape (d, d), symmetric.
    """
    return buffer_of(gram.ravel()[_upper(gram.shape[0])].astype("<f8", copy=False))


def unpack_symmetric(payload: Payload, dimension: int) -> Array:
    """Return the symmetric matrix (d, d) of a packed upper triangle.

    Raises:
        RemoteProtocolError: `tensor`, if the byte count does not fit the dimension.
    """
    packed = view(payload, "float64", (packed_length(dimension),))
    gram: Array = packed[_places(dimension)]
    return gram


@lru_cache(maxsize=MAX_DIMENSION)
def _upper(dimension: int) -> npt.NDArray[np.intp]:
    """Where the packed entries stand in the flattened matrix."""
    rows, columns = np.triu_indices(dimension)
    return rows * dimension + columns


@lru_cache(maxsize=MAX_DIMENSION)
def _places(dimension: int) -> npt.NDArray[np.intp]:
    """For each entry of the matrix (d, d), where the packed form holds it."""
    rows, columns = np.triu_indices(dimension)
    places = np.empty((dimension, dimension), dtype=np.intp)
    places[rows, columns] = places[columns, rows] = np.arange(len(rows))
    return places


def require_plausible(
    gram: Array, moment: Array, count: int, sum_squares: float, bounds: Bounds = DEFAULT_BOUNDS
) -> None:
    """Refuse statistics larger than `count` honest rows within `bounds` can make them.

    Args:
        gram: shape (d, d).
        moment: shape (d,).
        count: rows.
        sum_squares: of costs, seconds squared.
        bounds: what one upload may claim.

    Raises:
        RemoteProtocolError: `not_finite` or `implausible`.
    """
    if not (np.isfinite(gram).all() and np.isfinite(moment).all() and np.isfinite(sum_squares)):
        raise RemoteProtocolError("not_finite", "statistics hold NaN or infinity")
    if not 1 <= count <= bounds.rows:
        raise RemoteProtocolError(
            "implausible", f"{count} rows in one upload, 1 to {bounds.rows} are allowed"
        )
    trace = float(np.trace(gram))
    if trace > count * bounds.row_norm_squared:
        raise RemoteProtocolError("implausible", f"gram of trace {trace:.3g} is too large for {count} rows")
    if not 0.0 <= sum_squares <= count * bounds.cost_s**2:
        raise RemoteProtocolError(
            "implausible", f"sum of squared costs {sum_squares:.3g} s^2 for {count} rows"
        )
