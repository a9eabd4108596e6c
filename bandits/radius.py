"""The confidence radius of the regret bound; practice uses a constant that is far smaller."""

import math


def theory_radius(
    *,
    dimension: int,
    members: int,
    rounds: int,
    alpha: float,
    regularisation: float,
    noise_s: float,
    parameter_norm_s: float,
    context_norm: float = 1.0,
    delta: float = 0.1,
    groups: int = 1,
) -> float:
    """Return beta of one group, seconds.

    beta = sqrt(lambda) S + (sqrt(1 + M alpha) + M sqrt(2 alpha))
           * (R sqrt(d ln((1 + T L^2 / (min(alpha, 1) lambda)) / delta')) + sqrt(lambda) S),
    with delta' = delta / groups, so that all groups' bounds hold together with probability 1 - delta.
    The federated form of the self-normalised bound follows He et al. 2022 (FedLinUCB), theorem 5.1.

    Args:
        dimension: d.
        members: M, devices of the group.
        rounds: T, of all members together.
        alpha: of the upload trigger.
        regularisation: lambda.
        noise_s: R, sub-Gaussian scale of a cost, seconds.
        parameter_norm_s: S, bound of ||theta||.
        context_norm: L, bound of ||x||.
        delta: failure probability of all groups together.
        groups: G.

    Raises:
        ValueError: an argument out of range.
    """
    positive = (dimension, members, rounds, alpha, regularisation, context_norm, groups)
    if min(positive) <= 0 or min(noise_s, parameter_norm_s) < 0 or not 0.0 < delta < 1.0:
        raise ValueError("sizes and scales must be positive and delta in (0, 1)")
    prior = math.sqrt(regularisation) * parameter_norm_s
    growth = 1.0 + rounds * context_norm**2 / (min(alpha, 1.0) * regularisation)
    noise = noise_s * math.sqrt(dimension * math.log(growth * groups / delta))
    spread = math.sqrt(1.0 + members * alpha) + members * math.sqrt(2.0 * alpha)
    return prior + spread * (noise + prior)
