"""The arithmetic of int8 and int4: an affine grid a tensor or a channel.

value = level * step + offset, level 0 to `levels`. The offset is the smallest value, which is therefore exact
and comes back as itself: zeros after a rectifier stay zeros. No other value is promised to be exact.

Header, little endian: a float32 step for every channel, then a float32 offset for every channel. Channels lie
along axis 1 where there are two axes or more (axis 0 is the batch); a vector is one channel.
"""

import math

import numpy as np
import numpy.typing as npt

from bus.errors import LocalProtocolError, RemoteProtocolError
from partition.codecs.base import empty_aligned

Grid = npt.NDArray[np.uint8]

# Bounds for a peer's header: 255 steps from the offset must stay finite in float32.
LARGEST = 1e30
_TINY = np.finfo(np.float32).tiny


def header_bytes(shape: tuple[int, ...], *, per_channel: bool) -> int:
    """Return the size of the header for that shape."""
    return 8 * _grouping(shape, per_channel=per_channel)[1]


def quantise(array: npt.NDArray[np.float32], levels: int, *, per_channel: bool) -> tuple[bytes, Grid]:
    """Return the header, and the level of every element, uint8 (elements,).

    Raises:
        LocalProtocolError: if the array holds NaN or infinity, or values beyond 1e30.
    """
    grouped = array.reshape(_grouping(array.shape, per_channel=per_channel))
    low, high = grouped.min(axis=(0, 2)), grouped.max(axis=(0, 2))
    # Written so that NaN fails too.
    if not (low.min() >= -LARGEST and high.max() <= LARGEST):
        raise LocalProtocolError("an activation with NaN, infinity or values beyond 1e30 cannot be quantised")
    # Rounded through float32 as the decoder sees it; a constant channel needs some step > 0.
    spread = high.astype(np.float64) - low
    step = np.maximum((spread / levels).astype(np.float32), _TINY)
    scale = (1.0 / step.astype(np.float64)).astype(np.float32)
    grid = np.subtract(grouped, _scalar(low[:, None]))
    grid *= _scalar(scale[:, None])
    np.rint(grid, out=grid)
    np.minimum(grid, levels, out=grid)
    return step.astype("<f4").tobytes() + low.astype("<f4").tobytes(), grid.astype(np.uint8).reshape(-1)


def restore(
    header: memoryview, grid: Grid, shape: tuple[int, ...], *, per_channel: bool
) -> npt.NDArray[np.float32]:
    """Return the values of levels, uint8 (elements,).

    Raises:
        RemoteProtocolError: a step or an offset is out of bounds.
    """
    groups = _grouping(shape, per_channel=per_channel)
    step, low = np.frombuffer(header, "<f4").reshape(2, groups[1], 1)
    # Written so that NaN fails too.
    if not (low.min() >= -LARGEST and low.max() <= LARGEST and 0.0 < step.min() <= step.max() <= LARGEST):
        raise RemoteProtocolError("tensor", "step or offset of the grid is out of bounds")
    array = empty_aligned(shape)
    values = array.reshape(groups)
    np.copyto(values, grid.reshape(groups))
    values *= _scalar(step)
    values += _scalar(low)
    return array


def _scalar(column: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | np.float32:
    """Return a column of one channel as a scalar, for which numpy has a faster loop."""
    return np.float32(column[0, 0]) if column.size == 1 else column


def _grouping(shape: tuple[int, ...], *, per_channel: bool) -> tuple[int, int, int]:
    """Return (batch, channels, the rest)."""
    if per_channel and len(shape) > 1:
        return shape[0], shape[1], math.prod(shape[2:])
    return 1, 1, math.prod(shape)
