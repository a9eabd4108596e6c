"""When an exit may answer: temperature and threshold from images that nothing was learnt from. Pure.

The threshold is conformal risk control (Angelopoulos et al. 2022, arXiv 2208.02814): a frame costs 1 if the
exit answers it, and answers other than the whole network. That loss falls as the threshold rises, so the
lowest one with (losses + 1) / (images + 1) <= 1 - agreement keeps, in expectation over images like these, at
least `agreement` of the whole network's answers.
"""

import math

import numpy as np
import numpy.typing as npt

from bus.errors import ConfigurationError
from partition.networks.exit_heads import NEVER

Numbers = npt.NDArray[np.float64]
_TEMPERATURES = np.geomspace(0.05, 20.0, 121)


def temperature_of(logits: Numbers, answers: npt.NDArray[np.int64]) -> float:
    """Return what to divide logits (n, classes) by, so that `answers` (n,) are likeliest."""
    losses = []
    for temperature in _TEMPERATURES:
        scaled = logits / temperature
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        chosen = scaled[np.arange(len(answers)), answers]
        losses.append(float((np.log(np.exp(scaled).sum(axis=1)) - chosen).mean()))
    return float(_TEMPERATURES[int(np.argmin(losses))])


def images_needed(agreement: float) -> int:
    """Return the fewest images that a threshold for `agreement` can be chosen with.

    Raises:
        ConfigurationError: the agreement does not lie between 0 and 1.
    """
    if not 0.0 < agreement < 1.0:
        raise ConfigurationError(f"an agreement lies between 0 and 1, not {agreement}: such as 0.99")
    # Rounded, so that 1 / (1 - 0.99) does not become 100.00000000000009.
    return max(1, math.ceil(round(1.0 / (1.0 - agreement), 6)) - 1)


def threshold_of(confidence: Numbers, agrees: npt.NDArray[np.bool_], agreement: float) -> float:
    """Return the lowest confidence from which the exit may answer, or `NEVER`.

    Args:
        confidence: (n,), of the exit's answers.
        agrees: (n,), whether they are the whole network's.
        agreement: wanted, below 1.

    Raises:
        ConfigurationError: agreement out of range, or too few images for it.
    """
    if len(confidence) < images_needed(agreement):
        raise ConfigurationError(
            f"{len(confidence)} images are too few to promise an agreement of {agreement}: hold out at least "
            f"{images_needed(agreement)} to calibrate on, or ask for less"
        )
    allowed = math.floor(round((1.0 - agreement) * (len(confidence) + 1), 6)) - 1
    order = np.argsort(-confidence, kind="stable")
    losses = np.cumsum(~agrees[order])
    falling = confidence[order]
    # Equal confidences answer together or not at all: only the last of each run is a place to stop.
    ends = np.append(falling[1:] < falling[:-1], True)
    good = np.flatnonzero(ends & (losses <= allowed))
    return float(falling[good[-1]]) if len(good) else NEVER
