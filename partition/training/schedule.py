"""The learning rate of each step. Pure."""

import math

_WARM_SHARE = 0.05


def rate_at(step: int, steps: int, highest: float) -> float:
    """Return the rate of `step`: a short rise, then half a cosine to zero (arXiv 1608.03983)."""
    rising = max(1.0, _WARM_SHARE * steps)
    if step < rising:
        return highest * (step + 1) / (rising + 1)
    return highest * 0.5 * (1.0 + math.cos(math.pi * (step - rising) / max(1.0, steps - rising)))
