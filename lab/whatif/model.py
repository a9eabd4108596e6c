"""What each arm would have cost at each frame, from what the stages of other frames took.

An arm is its device part, what its bytes take over the link as it was then, and the edge worker's part. A
frame's own measurement is in none of its predictions: the doubly robust estimate needs that.
"""

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from lab.whatif.logged import Floats, Log

_MEMORY_FRAMES = 8.0
"""After so many answered frames a link's measurement weighs 1 / e."""
_PRIOR_FRAMES = 0.5
"""Weight of all of a log's measurements together beside those that are near."""
_RIDGE = 1e-6


def predictions(log: Log) -> Floats:
    """Return milliseconds, shape (T, K); NaN for an arm of which some stage was never measured.

    Args:
        log: of one device.
    """
    device = _leave_one_out(log, log.device_ms, np.arange(len(log.labels)), np.ones(len(log), bool))
    edge = _leave_one_out(log, log.edge_ms, log.cuts, log.answered)
    size, counts = _means(log.arm, log.sent_bytes, len(log.labels))
    alone = (size == 0.0) & (counts > 0)
    intercept, slope = _link(log)
    link = intercept[:, None] + slope[:, None] * size[None, :]
    sent = link + edge
    predicted: Floats = device + np.where(alone[None, :], 0.0, sent)
    return predicted


def _means(group: npt.NDArray[np.int64], values: Floats, groups: int) -> tuple[Floats, Floats]:
    """Return mean and count of each group; NaN where there is none."""
    counts = np.bincount(group, minlength=groups).astype(float)
    sums = np.bincount(group, weights=values, minlength=groups)
    with np.errstate(invalid="ignore"):
        return sums / counts, counts


def _leave_one_out(
    log: Log, values: Floats, groups: npt.NDArray[np.int64], known: npt.NDArray[np.bool_]
) -> Floats:
    """Return each arm's mean over its group of arms, (T, K), without the frame that it is for."""
    _, places = np.unique(groups, return_inverse=True)
    count = int(places.max()) + 1
    of_frame = places[log.arm]
    weight = known.astype(float)
    sums = np.bincount(of_frame, weights=values * weight, minlength=count)
    counts = np.bincount(of_frame, weights=weight, minlength=count)
    own = of_frame[:, None] == places[None, :]
    left = counts[places][None, :] - own * weight[:, None]
    total = sums[places][None, :] - own * (values * weight)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Floats = np.where(left > 0.5, total / left, np.nan)
    return mean


def _link(log: Log) -> tuple[Floats, Floats]:
    """Return what a transfer takes at each frame, ms: what any takes, and what each byte adds, both (T,).

    Weighted least squares over the frames before and after it that an edge worker has answered, by nearness,
    and a little of all of them: where all payloads are of one size the two cannot be told apart, and need not
    be.
    """
    weight = log.answered.astype(float)
    b, y = log.sent_bytes * weight, log.link_ms * weight
    columns = np.stack([weight, b, b * log.sent_bytes, y, y * log.sent_bytes])
    decay = np.exp(-1.0 / _MEMORY_FRAMES)
    near = _past(columns, decay) + _past(columns[:, ::-1], decay)[:, ::-1]
    others = columns.sum(axis=1, keepdims=True) - columns
    rest = others * (_PRIOR_FRAMES / np.maximum(others[0], 1.0))
    n, sb, sbb, sy, sby = near + rest
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = sbb - sb * sb / n
        flat = spread <= _RIDGE * np.maximum(sbb, 1e-12)
        slope = np.where(
            flat, sby / np.maximum(sbb, 1e-12), (sby - sb * sy / n) / np.where(flat, 1.0, spread)
        )
        slope = np.maximum(slope, 0.0)
        intercept = np.maximum((sy - slope * sb) / n, 0.0)
    return intercept, slope


def _past(columns: Floats, decay: float) -> Floats:
    """Return the sums over all frames before each one, those further back weighing less."""
    sums = lfilter([0.0, decay], [1.0, -decay], columns, axis=1)
    found: Floats = np.asarray(sums)
    return found
