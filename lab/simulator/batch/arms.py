"""What all lanes have in common: the arms of a network, as a learner of the family sees them."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from bandits.arrays import Mask, Matrix, Vector


@dataclass(frozen=True, slots=True, eq=False)
class Arms:
    """K contexts of d columns, and what follows from them alone.

    Attributes:
        contexts: shape (K, d).
        squares: shape (d * d, K), x x^T of each context as a column.
        rows: shape (K, d, 2), the regression rows of a frame: the device's part and the rest, or the whole
            and a row of zeros, which adds nothing.
        grams: shape (K, d * d), sum of the rows' outer products.
        counts: shape (K,), rows that are not such zeros.
        offloads: shape (K,), whether link and edge are used.
    """

    contexts: Matrix
    squares: Matrix
    rows: Matrix
    grams: Matrix
    counts: Vector
    offloads: Mask

    @classmethod
    def of(cls, contexts: Matrix, device_columns: npt.NDArray[np.bool_], *, split: bool) -> Self:
        """Return the arms of contexts (K, d).

        Args:
            contexts: shape (K, d).
            device_columns: d booleans, the columns of the device's own work.
            split: whether a frame that was offloaded makes two rows.
        """
        K, d = contexts.shape  # noqa: N806 - as in the literature
        offloads: Mask = np.asarray(contexts[:, ~device_columns].any(axis=1))
        two = np.asarray(offloads & split)[:, None]
        device = np.where(two, contexts * device_columns, contexts)
        rows = np.stack([device, contexts - device], axis=2)
        return cls(
            contexts=contexts,
            squares=np.einsum("ki,kj->ijk", contexts, contexts).reshape(d * d, K),
            rows=rows,
            grams=np.einsum("kim,kjm->kij", rows, rows).reshape(K, d * d),
            counts=np.where(two[:, 0], 2.0, 1.0),
            offloads=offloads,
        )
