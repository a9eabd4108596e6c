"""The confidence radii of the regret bound (docs/theory.md); practice uses one that is far smaller."""

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


def information(*, dimension: int, rows: float, regularisation: float, context_norm: float = 1.0) -> float:
    """Return Lambda = d ln(1 + rows L^2 / (d lambda)), the most that ln det can grow by through `rows` rows.

    Args:
        dimension: d.
        rows: T and the weights of early-exit rows.
        regularisation: lambda.
        context_norm: L.
    """
    return dimension * math.log1p(rows * context_norm**2 / (dimension * regularisation))


def server_radius(
    *,
    information: float,
    regularisation: float,
    noise_s: float,
    parameter_norm_s: float,
    delta: float = 0.1,
) -> float:
    """Return beta_0 = sqrt(lambda) S + R sqrt(Lambda + 2 ln(1 / delta)), seconds (docs/theory.md, 1a).

    Enough where devices decide by what the group has sent (`strict`) and neither frames nor activity react
    to costs; whatever the number of members, alpha and delays are.

    Args:
        information: Lambda.
        regularisation: lambda.
        noise_s: R.
        parameter_norm_s: S.
        delta: failure probability of this group.
    """
    prior = math.sqrt(regularisation) * parameter_norm_s
    return prior + noise_s * math.sqrt(information + 2.0 * math.log(1.0 / delta))


def group_radius(
    *,
    information: float,
    members: int,
    rounds: int,
    alpha: float,
    regularisation: float,
    noise_s: float,
    parameter_norm_s: float,
    everybody_hears: bool = True,
    delta: float = 0.1,
) -> float:
    """Return the radius for fresh views and adaptive contexts, seconds (docs/theory.md, 1b and 1c).

    sqrt(lambda) S + R (sqrt(1 + M alpha) sqrt(Lambda + 2 ln(2 / delta)) + M sqrt(alpha) (1 + sqrt(h))),
    h = 2 ln(2 (M + T) / delta), and Lambda more where every member hears every version.

    Args:
        information: Lambda.
        members: M.
        rounds: T.
        alpha: of the upload trigger.
        regularisation: lambda.
        noise_s: R.
        parameter_norm_s: S.
        everybody_hears: whether a version goes to all members, or only to who caused it.
        delta: failure probability of this group.
    """
    prior = math.sqrt(regularisation) * parameter_norm_s
    total = math.sqrt((1.0 + members * alpha) * (information + 2.0 * math.log(2.0 / delta)))
    h = 2.0 * math.log(2.0 * (members + rounds) / delta) + (information if everybody_hears else 0.0)
    return prior + noise_s * (total + members * math.sqrt(alpha) * (1.0 + math.sqrt(h)))
