"""Theorems 2 and 3 of docs/theory.md as numbers. What is computed here holds; nothing is estimated."""

import math
from dataclasses import dataclass

import numpy as np

_GRID = np.geomspace(1.0, 1e4, 81)  # alpha' over alpha


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the bound depends on besides time.

    Attributes:
        members: M.
        alpha: of the upload trigger, positive.
        beta_s: the radius that is played.
        everybody_hears: whether a version goes to all members, or only to who caused it.
        parameter_norm_s, context_norm: S and L.
    """

    members: int
    alpha: float
    beta_s: float
    everybody_hears: bool
    parameter_norm_s: float = 1.0
    context_norm: float = 1.0


def most_uploads(setting: Setting, information: float, analysed: float | None = None) -> float:
    """Return the most uploads that add more than ln(1 + alpha'), Theorem 3.

    Args:
        setting: the group.
        information: Gamma or a bound of it.
        analysed: alpha'; alpha itself when None.
    """
    alpha, members = setting.alpha if analysed is None else analysed, setting.members
    if setting.everybody_hears:
        return information / math.log1p(alpha)
    return (2 * members + 1) * (1.0 + information / math.log1p(members * alpha))


def most_regret(
    setting: Setting, rounds: int, information: float, *, uploads: float = math.inf
) -> tuple[float, float]:
    """Return the bound of Theorem 2, seconds, and the alpha' that it is best with.

    Args:
        setting: the group.
        rounds: of the group.
        information: Gamma, realised or bounded.
        uploads: how many there were, where that is known.
    """
    best = (math.inf, setting.alpha)
    for analysed in setting.alpha * _GRID:
        big = min(uploads, most_uploads(setting, information, analysed))
        bound = 2.0 * setting.context_norm * setting.parameter_norm_s * big
        bound += (
            2.0
            * setting.beta_s
            * math.sqrt((1.0 + setting.members * analysed) * rounds * max(0.0, information))
        )
        best = min(best, (bound, float(analysed)))
    return best
