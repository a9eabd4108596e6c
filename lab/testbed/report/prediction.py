"""What the simulator said before, beside what came out. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from lab.simulator.summary import Report

_LEAST_RANKED = 3


@dataclass(frozen=True, slots=True)
class Predicted:
    """One policy's mean latency, ms; `estimated` where even the measured one is an estimate."""

    policy: str
    predicted_ms: float
    measured_ms: float
    estimated: bool

    @property
    def error(self) -> float:
        """How far the prediction is off, as a share of what was measured."""
        return self.predicted_ms / self.measured_ms - 1.0


@dataclass(frozen=True, slots=True)
class Prediction:
    """All policies.

    Attributes:
        rows: in the report's order.
        mean_error: mean absolute error as a share, over policies that were played.
        rank: Spearman's correlation of their order; None where fewer than three can be ranked.
    """

    rows: list[Predicted]
    mean_error: float | None
    rank: float | None


def prediction_of(report: Report, estimated: Sequence[str]) -> Prediction:
    """Return what was predicted of every policy that was measured too."""
    predicted: Mapping[str, Any] = report.get("predicted", {})
    rows = [
        Predicted(policy, predicted[policy]["mean_ms"]["mean"], row["mean_ms"]["mean"], policy in estimated)
        for policy, row in report["policies"].items()
        if "mean_ms" in row and "mean_ms" in predicted.get(policy, {})
    ]
    played = [row for row in rows if not row.estimated]
    mean_error = sum(abs(row.error) for row in played) / len(played) if played else None
    return Prediction(rows, mean_error, _rank(played))


def _rank(rows: Sequence[Predicted]) -> float | None:
    predicted = [row.predicted_ms for row in rows]
    measured = [row.measured_ms for row in rows]
    # Of what is all the same there is no order; scipy would warn.
    if len(rows) < _LEAST_RANKED or len(set(predicted)) < 2 or len(set(measured)) < 2:
        return None
    return float(stats.spearmanr(predicted, measured).statistic)
