"""Sufficient statistics on the wire: packed form and the bounds that honest ones obey.

The statistics of rows (x_i, y_i) are gram = sum x x^T, moment = sum y x, sum_squares = sum y^2 and
their count. For any real rows the augmented matrix ``[[gram, moment], [moment^T, sum_squares]]``
is positive semidefinite; this one test covers "gram is PSD" and "moment^T gram^-1 moment <=
sum_squares", so a liar can bend a group's parameters only as far as rows within the bounds could.
"""

from dataclasses import dataclass

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
        rows: largest count of one upload, which is also the weight cap of one message.
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
    return buffer_of(gram[np.triu_indices(gram.shape[0])].astype("<f8", copy=False))


def unpack_symmetric(payload: Payload, dimension: int) -> Array:
    """Return the symmetric matrix (d, d) of a packed upper triangle.

    Raises:
        RemoteProtocolError: `tensor`, if the byte count does not fit the dimension.
    """
    packed = view(payload, "float64", (packed_length(dimension),))
    gram = np.empty((dimension, dimension))
    rows, columns = np.triu_indices(dimension)
    gram[rows, columns] = packed
    gram[columns, rows] = packed
    return gram


def require_plausible(
    gram: Array, moment: Array, count: int, sum_squares: float, bounds: Bounds = DEFAULT_BOUNDS
) -> None:
    """Refuse statistics that no honest rows within `bounds` can have.

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
    if _smallest_eigenvalue(gram, moment, sum_squares) < -1e-9:
        raise RemoteProtocolError("implausible", "no rows have these statistics: augmented matrix is not PSD")


def _smallest_eigenvalue(gram: Array, moment: Array, sum_squares: float) -> float:
    """Smallest eigenvalue of the augmented matrix, scaled to unit diagonal so that 1e-9 means rounding."""
    dimension = gram.shape[0]
    augmented = np.empty((dimension + 1, dimension + 1))
    augmented[:dimension, :dimension] = gram
    augmented[:dimension, dimension] = augmented[dimension, :dimension] = moment
    augmented[dimension, dimension] = sum_squares
    diagonal = augmented.diagonal()
    if (diagonal < 0.0).any():
        return -np.inf  # sums of squares: not even rounding makes one negative
    # A zero diagonal entry of a PSD matrix has a zero row; keeping scale 1 there lets any other row show.
    scale = np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    return float(np.linalg.eigvalsh(augmented / np.outer(scale, scale))[0])
