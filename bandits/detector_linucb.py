"""LinUCB with a change detector, a rival where costs drift: forgets when its residuals say that costs moved.

Each row, before it is added, gives a recursive residual (Brown, Durbin & Evans, "Techniques for Testing the
Constancy of Regression Relationships over Time", J. R. Stat. Soc. B 37, 1975),

    z = (y - <theta, x>) / (s sqrt(1 + x^T V^-1 x)),    s = the residuals' standard deviation so far,

of mean 0 and deviation 1, and independent, while theta stays what it is. A two-sided CUSUM (`cusum.py`)
watches those of the device part, another those of the rest. When one alarms, the regression starts again from
its ridge and the last frames, and so do both. Restarting upon an alarm is the scheme of Liu, Lee & Shroff,
"A Change-Detection Based Framework for Piecewise-Stationary Multi-Armed Bandit Problem", AAAI 2018, there for
arms without contexts.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bandits.arrays import Dump, Matrix, Vector
from bandits.cusum import Cusum
from bandits.factor import Factor
from bandits.player import DEFAULT_PLAYER, Player, PlayerSettings
from bandits.policy import Cost
from bandits.recent_frames import RecentFrames
from bandits.statistics import Statistics

_PARTS = 2  # rows of one frame: the device's and the rest's, or one of the total


class DetectorLinUCB:
    """One learner. Implements `Policy`.

    Attributes:
        alarms: how often it has forgotten.

    Args:
        device_columns: d booleans, the context columns of what runs on the device.
        settings: how it chooses.
        slack, threshold, clip: see `Cusum`.
        keep_frames: how many of the last frames an alarm leaves, the one that raised it included.
        warm_up_rows: residuals of a regression of fewer rows are not looked at: their deviation says little.
        name: how tables call it.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(
        self,
        device_columns: Sequence[bool] | npt.NDArray[np.bool_],
        settings: PlayerSettings = DEFAULT_PLAYER,
        *,
        slack: float = 0.5,
        threshold: float = 8.0,
        clip: float = 3.0,
        keep_frames: int = 4,
        warm_up_rows: int = 40,
        name: str = "detector_linucb",
    ) -> None:
        if warm_up_rows < 1:
            raise ValueError(f"warm_up_rows is {warm_up_rows}, expected at least 1")
        self.name = name
        self.alarms = 0
        self._warm_up_rows = warm_up_rows
        self._player = Player(device_columns, settings)
        self._ridge = Statistics.ridge(len(device_columns), settings.regularisation)
        self._recent = RecentFrames(len(device_columns), keep_frames)
        self._cusums = [Cusum(slack=slack, threshold=threshold, clip=clip) for _ in range(_PARTS)]
        self._sums = self._ridge
        self._factor = Factor(self._sums)

    @property
    def beta_s(self) -> float:
        """The present exploration radius, seconds."""
        return self._player.beta_s(self._factor)

    def predict(self, contexts: Matrix) -> tuple[Vector, Vector]:
        """Return expected cost and width, each (K,), of contexts (K, d)."""
        return self._factor.predict(contexts)

    def select(self, contexts: Matrix) -> int:
        """As `Policy.select`.

        Raises:
            ValueError: contexts of another shape, NaN or infinity.
        """
        return self._player.select(contexts, self._factor)

    def update(self, arm: int, cost: Cost) -> None:
        """Add the rows of one frame; forget all but the last frames where they are too far off.

        Raises:
            ValueError: no such arm in the latest contexts.
        """
        X, y = self._player.rows(arm, cost, self._factor)
        grown = self._sums.add_rows(X, y)
        alarm = self._alarms(X, y)
        self._recent.append((X, y))
        self._sums = grown
        if alarm:
            self._forget()
        self._factor = Factor(self._sums)

    def _alarms(self, X: Matrix, y: Vector) -> bool:
        """Show each row's residual to the CUSUM of its part; whether one alarms."""
        noise_s = self._factor.noise_s
        if self._sums.count < self._warm_up_rows or noise_s == 0.0:
            return False
        mean, width = self._factor.predict(X)
        z = (y - mean) / (noise_s * np.sqrt(1.0 + width**2))
        # All of them, before any is asked: the device's alarm must not hide the rest's row from its CUSUM.
        alarms = [cusum.observe(float(each)) for cusum, each in zip(self._cusums, z, strict=False)]
        return any(alarms)

    def _forget(self) -> None:
        """Start again from the ridge and the last frames."""
        self.alarms += 1
        self._sums = self._recent.on(self._ridge)
        for cusum in self._cusums:
            cusum.reset()

    def dump(self) -> Dump:
        """Return sums, last frames, detectors and the place in the schedule of probes."""
        return {
            "sums": self._sums.dump(),
            "recent": self._recent.dump(),
            "cusums": [cusum.dump() for cusum in self._cusums],
            "alarms": self.alarms,
            "player": self._player.dump(),
        }

    def load(self, state: Dump) -> None:
        """Take over what `dump` returned.

        Raises:
            ValueError: invalid sums, rows or detectors.
        """
        sums = Statistics.load(state["sums"])
        factor = Factor(sums)
        self._recent.load(state["recent"])
        for cusum, dumped in zip(self._cusums, state["cusums"], strict=True):
            cusum.load(dumped)
        self._sums, self._factor = sums, factor
        self.alarms = int(state["alarms"])
        self._player.load(state["player"])
