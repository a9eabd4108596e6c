"""What a policy would have cost: by the model, by inverse propensities, and by both (doubly robust).

Dudik, Langford & Li, "Doubly robust policy evaluation and learning", ICML 2011; weights are normalised by
their own sum (Swaminathan & Joachims, "The self-normalized estimator for counterfactual learning", NeurIPS
2015). Frames near in time are alike, so intervals are Student's over means of blocks.

A link that is gone for some seconds costs a policy seconds, and a few frames that match may all have missed
it. What m frames have not shown may happen in 3 / m of all (the "rule of three", Hanley & Lippman-Hand, JAMA
1983), so the upper end of an interval has room for that share of frames that wait for their deadline.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from lab.whatif.logged import Floats, Log

LEAST_MATCHED = 10
"""Frames that must have been played as the policy would, before anything is said by their weights."""
_BLOCKS = 20
_LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean in milliseconds, with its 95 % interval; infinite where there is too little to tell."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What a policy would have cost on the frames of a log.

    Attributes:
        frames: of the log. matched: of those, played as the policy would have.
        unknown: frames on which the policy plays an arm that nobody has measured; the estimates are of the
            others.
        model: the mean by the model alone, which no interval can vouch for; NaN where it knows nothing.
        weighted: by inverse propensities; None where they are not known, or too few frames match.
        robust: by both; None as above.
        logged: what was measured, under the policy that was logged.
    """

    frames: int
    matched: int
    unknown: int
    model: float
    weighted: Estimate | None
    robust: Estimate | None
    logged: Estimate


def what_if(log: Log, chosen: npt.NDArray[np.int64], predicted: Floats) -> WhatIf:
    """Return what a policy would have cost.

    Args:
        log: T frames of one device.
        chosen: the arm that it plays at each frame, (T,); -1 for one that was never played.
        predicted: milliseconds of each arm at each frame, (T, K), as `lab.whatif.model` has them.
    """
    rows = np.arange(len(log))
    model = np.where(chosen >= 0, predicted[rows, np.maximum(chosen, 0)], np.nan)
    matched = chosen == log.arm
    known = np.isfinite(model) | matched
    weighted = robust = None
    if log.explored and int(matched.sum()) >= LEAST_MATCHED:
        weight = np.where(matched, 1.0 / log.propensity, 0.0)[known]
        cost, by_model = log.cost_ms[known], np.where(np.isfinite(model), model, log.cost_ms)[known]
        mean = float((weight * cost).sum() / weight.sum())
        unseen_ms = _unseen_ms(log, chosen[known], weight, mean)
        weighted = _interval(mean + weight * (cost - mean) / weight.mean(), mean, unseen_ms)
        residual = weight * (cost - by_model) / weight.mean()
        robust = _interval(by_model + residual, float((by_model + residual).mean()), unseen_ms)
    finite = model[np.isfinite(model)]
    return WhatIf(
        frames=len(log),
        matched=int(matched.sum()),
        unknown=int((~known).sum()),
        model=float(finite.mean()) if len(finite) else math.nan,
        weighted=weighted,
        robust=robust,
        logged=_interval(log.cost_ms, float(log.cost_ms.mean())),
    )


def _unseen_ms(log: Log, chosen: npt.NDArray[np.int64], weight: Floats, mean: float) -> float:
    """Return how much higher the mean may be for what the frames that match have not met."""
    effective = float(weight.sum() ** 2 / (weight**2).sum())
    sent = np.bincount(log.arm, weights=log.sent_bytes, minlength=len(log.labels))
    sends = float((sent[np.maximum(chosen, 0)] > 0.0).mean())
    worst_ms = max(log.deadline_ms, float(log.cost_ms.max()))
    return sends * min(1.0, 3.0 / effective) * max(0.0, worst_ms - mean)


def _interval(values: Floats, mean: float, unseen_ms: float = 0.0) -> Estimate:
    """Return the interval of a mean of values that are alike where they are near."""
    blocks = min(_BLOCKS, len(values) // 2)
    if blocks < 2:
        return Estimate(mean, -math.inf, math.inf)
    means = np.array([block.mean() for block in np.array_split(values, blocks)])
    half = float(student.ppf(0.5 + _LEVEL / 2.0, blocks - 1) * means.std(ddof=1) / math.sqrt(blocks))
    return Estimate(mean, mean - half, mean + half + unseen_ms)
