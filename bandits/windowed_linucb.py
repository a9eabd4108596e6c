"""SW-LinUCB, a rival where costs drift: only the last W frames count.

Cheung, Simchi-Levi & Zhu, "Learning to Optimize under Non-Stationarity", AISTATS 2019, algorithm 1,
minimising:

    V = lambda I + sum x_s x_s^T,   b = sum y_s x_s,   s = t - W .. t - 1,   theta = V^-1 b
    score_p = <theta, x_p> - beta sqrt(x_p^T V^-1 x_p)
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bandits.arrays import Dump, Matrix, Vector
from bandits.factor import Factor
from bandits.player import DEFAULT_PLAYER, EstimatePlayer, PlayerSettings
from bandits.policy import Cost
from bandits.recent_frames import RecentFrames
from bandits.statistics import Statistics


class WindowedLinUCB(EstimatePlayer[Factor]):
    """One learner. Implements `Policy`.

    Args:
        device_columns: d booleans, the context columns of what runs on the device.
        settings: how it chooses.
        window_frames: W, of the frames that it is told of.
        name: how tables call it.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(
        self,
        device_columns: Sequence[bool] | npt.NDArray[np.bool_],
        settings: PlayerSettings = DEFAULT_PLAYER,
        *,
        window_frames: int = 200,
        name: str = "windowed_linucb",
    ) -> None:
        if window_frames < 1:
            raise ValueError(f"window_frames is {window_frames}, expected at least 1")
        self.name = name
        self._window_frames = window_frames
        super().__init__(device_columns, settings)
        self._ridge = Statistics.ridge(len(device_columns), settings.regularisation)
        self._frames = RecentFrames(len(device_columns), window_frames)
        self._dropped = 0  # since the sums were last made anew
        self._sums = self._ridge
        self._estimate = Factor(self._sums)

    def update(self, arm: int, cost: Cost) -> None:
        """Add the rows of one frame, and drop those of the frame that leaves the window.

        Raises:
            ValueError: no such arm in the latest contexts.
        """
        X, y = self._player.rows(arm, cost, self._estimate)
        self._sums = self._sums.add_rows(X, y)
        displaced = self._frames.append((X, y))
        if displaced is not None:
            self._drop(*displaced)
        self._estimate = Factor(self._sums)

    def _drop(self, X: Matrix, y: Vector) -> None:
        """Take rows out of the sums. Each difference rounds, so once a window they are summed anew."""
        self._dropped += 1
        if self._dropped >= self._window_frames:
            self._sums, self._dropped = self._frames.on(self._ridge), 0
            return
        sums = self._sums
        self._sums = Statistics(
            sums.gram - X.T @ X,
            sums.moment - y @ X,
            sums.count - X.shape[0],
            # A difference of sums of squares can round to below zero.
            max(0.0, sums.sum_squares - float(y @ y)),
        )

    def dump(self) -> Dump:
        """Return window, sums and the place in the schedule of probes."""
        return {
            "frames": self._frames.dump(),
            "sums": self._sums.dump(),
            "dropped": self._dropped,
            "player": self._player.dump(),
        }

    def load(self, state: Dump) -> None:
        """Take over what `dump` of one with the same window returned.

        Raises:
            ValueError: invalid sums or rows.
        """
        sums = Statistics.load(state["sums"])
        factor = Factor(sums)
        self._frames.load(state["frames"])
        self._sums, self._estimate, self._dropped = sums, factor, int(state["dropped"])
        self._player.load(state["player"])
