"""Per-arm residuals of one device: what the shared linear model cannot say about an arm.

A network's time is only roughly linear in its MACs and op counts; ten per cent a cut is usual, and no
amount of rows makes a linear model bend. Each arm therefore carries an offset o_p ~ N(0, sigma^2 / k) on
top of <theta, x_p>, estimated from this device's own rows by shrinkage:

    o_p = sum_i g^(n - i) (y_i - <theta, x_i>) / (k + sum_i g^(n - i)),   rows i = 1..n of arm p,

k pseudo-rows of residual zero, g forgets. Sums of y and x are kept instead of residuals, so the offsets
always refer to the present theta. They stay on the device: groups merge theta alone, and its d.
"""

import numpy as np

from bandits.arrays import Dump, Matrix, Vector, require_finite


class ArmOffsets:
    """Shrunken mean residual of each arm.

    Args:
        dimension: d.
        pseudo_rows: k, how many rows of residual zero an arm starts with.
        forgetting: g in (0, 1], applied to an arm's sums with each new row of that arm.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(self, dimension: int, *, pseudo_rows: float, forgetting: float = 1.0) -> None:
        if not 0.0 < pseudo_rows < np.inf or not 0.0 < forgetting <= 1.0:
            raise ValueError("pseudo_rows must be positive and forgetting in (0, 1]")
        self._pseudo_rows = pseudo_rows
        self._forgetting = forgetting
        self._counts: Vector = np.zeros(0)
        self._costs: Vector = np.zeros(0)
        self._rows: Matrix = np.zeros((0, dimension))

    def predict(self, theta: Vector, arms: int) -> Vector:
        """Return the offsets (arms,) in seconds, given the present theta (d,)."""
        known = min(arms, self._counts.shape[0])
        residuals = self._costs[:known] - self._rows[:known] @ theta
        offsets: Vector = residuals / (self._pseudo_rows + self._counts[:known])
        return offsets if known == arms else np.concatenate((offsets, np.zeros(arms - known)))

    def observe(self, arm: int, x: Vector, y: float) -> None:
        """Add one row (x, y seconds) of `arm`."""
        missing = arm + 1 - self._counts.shape[0]
        if missing > 0:
            self._counts = np.append(self._counts, np.zeros(missing))
            self._costs = np.append(self._costs, np.zeros(missing))
            self._rows = np.vstack([self._rows, np.zeros((missing, self._rows.shape[1]))])
        g = self._forgetting
        self._counts[arm] = g * self._counts[arm] + 1.0
        self._costs[arm] = g * self._costs[arm] + y
        self._rows[arm] = g * self._rows[arm] + x

    def dump(self) -> Dump:
        """Return the sums."""
        return {"counts": self._counts.copy(), "costs": self._costs.copy(), "rows": self._rows.copy()}

    def load(self, state: Dump) -> None:
        """Take over what `dump` returned.

        Raises:
            ValueError: sums of another shape, NaN or infinity.
        """
        counts = require_finite(state["counts"], (None,), "counts")
        costs = require_finite(state["costs"], counts.shape, "costs")
        rows = require_finite(state["rows"], (counts.shape[0], self._rows.shape[1]), "rows")
        self._counts, self._costs, self._rows = counts.copy(), costs.copy(), rows.copy()
