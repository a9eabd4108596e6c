"""The vector in which work is counted: multiply-accumulates and operations, by kind. Pure."""

from typing import Final

import numpy as np
import numpy.typing as npt

Work = npt.NDArray[np.int64]

# Depthwise convolutions as a column of their own were tried: the fit over the cuts does not get better.
WORK_COLUMNS: Final = (
    "conv_macs",
    "linear_macs",
    "other_elements",
    "conv_ops",
    "linear_ops",
    "other_ops",
)
CONV_MACS, LINEAR_MACS, OTHER_ELEMENTS, CONV_OPS, LINEAR_OPS, OTHER_OPS = range(len(WORK_COLUMNS))


def no_work() -> Work:
    """Return zeros of shape (6,)."""
    return np.zeros(len(WORK_COLUMNS), dtype=np.int64)


def macs(work: Work) -> int:
    """Return the multiply-accumulates of convolutions and products together."""
    return int(work[[CONV_MACS, LINEAR_MACS]].sum())
