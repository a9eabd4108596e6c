"""Which differences between results of `cans simulate` are real: paired by seed, corrected for their number.

Two runs of one seed meet the same frames, links and noise, so what is looked at is their difference, seed by
seed: its mean, a bootstrap interval of that mean (BCa), and the p-value of a permutation test that turns the
signs of the differences (all of them where that is feasible). Who compares many policies finds some
difference by chance, so the p-values of the figure that matters are corrected together (Holm 1979). Runs that
are equal to the last bit are no test and are not counted: no choice of signs could have told them apart. All
is seeded.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from scipy import stats

from bus.errors import ConfigurationError

LEVEL = 0.05
LEAST_SEEDS = 3
Rows = dict[str, dict[str, float]]
"""Seed to figure to value."""
_RESAMPLES = 9999
_DUST = 1e-9  # share of a figure: less is the arithmetic's, such as another order of a sum


class Results(msgspec.Struct, frozen=True):
    """What of a `summary.json` can be compared.

    Attributes:
        by_seed: policy to rows.
        worlds: fingerprint of where each policy has played.
        settle_frames: from which frame on `later_mean_ms` counts.
    """

    place: str
    by_seed: dict[str, Rows]
    worlds: dict[str, str]
    settle_frames: int


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of one policy, against another or against itself elsewhere.

    Attributes:
        seeds: that both have. unpaired: that only one of them has, left out.
        first, second: means over those; of `against`, and of `policy`.
        difference: second less first. ci95: of its mean.
        p: two-sided, by itself. p_holm: corrected; None where the figure is not the one that matters.
        verdict: "lower", "higher", "none shown" or "equal", of the second; None as `p_holm`.
    """

    policy: str
    against: str
    figure: str
    seeds: int
    unpaired: int
    first: float
    second: float
    difference: float
    ci95: tuple[float, float]
    p: float
    p_holm: float | None = None
    verdict: str | None = None

    @property
    def equal(self) -> bool:
        """Whether no seed shows a difference."""
        return self.difference == 0.0 and self.ci95 == (0.0, 0.0)


class Compared(msgspec.Struct, frozen=True):
    """All comparisons, and what could not be compared: policy to the reason, in words."""

    comparisons: list[Comparison]
    left_out: dict[str, str]


def read_results(folder: Path) -> Results:
    """Read the results of `cans simulate`.

    Raises:
        ConfigurationError: there are none, or none with figures of each seed.
    """
    path = folder / "summary.json"
    try:
        summary: dict[str, Any] = json.loads(path.read_bytes())
        return msgspec.convert(
            {
                "place": str(folder),
                "by_seed": summary["by_seed"],
                "worlds": summary["provenance"]["worlds"],
                "settle_frames": summary["provenance"]["settle_frames"],
            },
            Results,
        )
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path} ({error.strerror}): name a folder that cans simulate has written"
        ) from None
    except (ValueError, TypeError, KeyError):
        raise ConfigurationError(
            f"{path} holds no figures of each seed: write it anew with cans simulate"
        ) from None


def compare_folders(first: Results, second: Results, only: Sequence[str] = ()) -> Compared:
    """Compare each policy of `second` with itself in `first`.

    Args:
        first: results.
        second: results.
        only: names of policies; all that both have when empty.

    Raises:
        ConfigurationError: nothing can be compared, or a policy of `only` is missing.
    """
    both = [name for name in second.by_seed if name in first.by_seed]
    _require(only, both, f"in both {first.place} and {second.place}")
    return _compare(first, second, [(name, name) for name in only or both])


def compare_with(results: Results, against: str, only: Sequence[str] = ()) -> Compared:
    """Compare each policy of one folder with the policy `against`; as `compare_folders`."""
    _require((against, *only), list(results.by_seed), f"in {results.place}")
    others = [name for name in only or results.by_seed if name != against]
    return _compare(results, results, [(against, name) for name in others])


def _require(names: Sequence[str], known: Sequence[str], where: str) -> None:
    for name in names:
        if name not in known:
            raise ConfigurationError(f"there is no policy {name!r} {where}: choose from {', '.join(known)}")


def _compare(first: Results, second: Results, pairs: Sequence[tuple[str, str]]) -> Compared:
    left_out: dict[str, str] = {}
    comparisons: list[Comparison] = []
    other_sense = {"later_mean_ms"} if first.settle_frames != second.settle_frames else set()
    for against, policy in pairs:
        one, other = first.by_seed[against], second.by_seed[policy]
        seeds = [seed for seed in one if seed in other]
        if first.worlds.get(against) != second.worlds.get(policy):
            left_out[policy] = "played in another world: other settings, network or recordings"
        elif len(seeds) < LEAST_SEEDS:
            left_out[policy] = f"has {len(seeds)} seeds in common, and {LEAST_SEEDS} are the least"
        else:
            unpaired = len(one.keys() ^ other.keys())
            comparisons += [
                _paired(figure, against, policy, one, other, seeds, unpaired)
                for figure in one[seeds[0]]
                if figure not in other_sense
                and all(figure in row[seed] for row in (one, other) for seed in seeds)
            ]
    if not comparisons:
        reasons = (
            "; ".join(f"{policy} {why}" for policy, why in left_out.items())
            or "there is no policy to compare"
        )
        raise ConfigurationError(f"{first.place} and {second.place} cannot be compared: {reasons}")
    return Compared(_corrected(comparisons), left_out)


def _paired(
    figure: str, against: str, policy: str, one: Rows, other: Rows, seeds: Sequence[str], unpaired: int
) -> Comparison:
    """Compare one figure over the seeds that both have."""
    first, second = (np.array([rows[seed][figure] for seed in seeds]) for rows in (one, other))
    differences = second - first
    differences[np.abs(differences) < _DUST * np.abs(first)] = 0.0
    return Comparison(
        policy=policy,
        against=against,
        figure=figure,
        seeds=len(seeds),
        unpaired=unpaired,
        first=float(first.mean()),
        second=float(second.mean()),
        difference=float(differences.mean()),
        ci95=_interval(differences),
        p=_p_value(differences),
    )


def _interval(differences: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % interval of the mean by bootstrap."""
    if np.ptp(differences) == 0.0:  # nothing to resample; scipy would say nan
        return float(differences[0]), float(differences[0])
    found = stats.bootstrap((differences,), np.mean, n_resamples=_RESAMPLES, rng=np.random.default_rng(0))
    low, high = found.confidence_interval
    return float(low), float(high)


def _p_value(differences: npt.NDArray[np.float64]) -> float:
    """Return how often differences of random signs have a mean as far from 0: all signs, up to 13 seeds."""
    found = stats.permutation_test(
        (differences,),
        lambda sample, axis: np.mean(sample, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=_RESAMPLES,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number: Holm, Scand. J. Statist. 6 (1979), step-down."""
    order = np.argsort(p, kind="stable")
    factors = len(p) - np.arange(len(p))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(np.asarray(p)[order] * factors))
    return [float(value) for value in corrected]


def _corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Correct the p-values of the figure that matters, and say what they show."""
    in_ms = {one.policy for one in comparisons if one.figure == "mean_ms"}
    matters = [one for one in comparisons if one.figure == ("mean_ms" if one.policy in in_ms else "regret")]
    tested = [one for one in matters if not one.equal]
    p_holm = dict(zip((one.policy for one in tested), holm([one.p for one in tested]), strict=True))

    def judged(one: Comparison) -> Comparison:
        p = p_holm.get(one.policy, 1.0)
        way = "lower" if one.difference < 0.0 else "higher"
        verdict = "equal" if one.equal else way if p < LEVEL else "none shown"
        return msgspec.structs.replace(one, p_holm=p, verdict=verdict)

    return [judged(one) if one in matters else one for one in comparisons]
