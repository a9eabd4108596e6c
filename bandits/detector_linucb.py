"""LinUCB with a change detector, a rival where costs drift: forgets when its residuals say that costs moved.

Each row, before it is added, gives a recursive residual (Brown, Durbin & Evans, "Techniques for Testing the
Constancy of Regression Relationships over Time", J. R. Stat. Soc. B 37, 1975),

    w = (y - <theta, x>) / sqrt(1 + x^T V^-1 x),

independent and of mean 0 and one deviation while theta stays what it is. A two-sided CUSUM (`cusum.py`) of
w / s, s being their deviation so far, watches those of the device part, another those of the rest, each with
its own s. When one alarms, that part's rows are forgotten but for the last: the two have no column in common,
so what is known of the other stays true. Restarting upon an alarm is the scheme of Liu, Lee & Shroff,
"A Change-Detection Based Framework for Piecewise-Stationary Multi-Armed Bandit Problem", AAAI 2018, there for
arms without contexts.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bandits.arrays import Dump, Mask, Matrix, Vector
from bandits.cusum import Cusum
from bandits.factor import Factor
from bandits.player import DEFAULT_PLAYER, EstimatePlayer, PlayerSettings
from bandits.policy import Cost
from bandits.recent_frames import RecentFrames
from bandits.statistics import Statistics

_PARTS = 2  # rows of one frame: the device's and the rest's, or one of the total
_FAMILIAR = 0.5  # widest row whose residual is looked at: of others, V knows less than four rows


class _Watch:
    """The residuals of one part: their deviation and their CUSUM.

    What the CUSUM clips is clipped here too, or one frame that was held up would hide the next change.
    """

    def __init__(self, cusum: Cusum, clip: float, warm_up_frames: int) -> None:
        self._cusum = cusum
        self._clip = clip
        self._warm_up_frames = warm_up_frames
        self.reset()

    def reset(self) -> None:
        """Start anew."""
        self._cusum.reset()
        self._count = 0
        self._squares = 0.0

    def observe(self, residual_s: float) -> bool:
        """Add one and return whether it alarms."""
        known_s = math.sqrt(self._squares / max(1, self._count))
        ready = self._count >= self._warm_up_frames and known_s > 0.0
        counted_s = min(abs(residual_s), self._clip * known_s) if ready else residual_s
        self._count += 1
        self._squares += counted_s**2
        return ready and self._cusum.observe(residual_s / known_s)

    def dump(self) -> Dump:
        """Return sums and CUSUM."""
        return {"count": self._count, "squares": self._squares, "cusum": self._cusum.dump()}

    def load(self, state: Dump) -> None:
        """Take over what `dump` returned.

        Raises:
            ValueError: sums that cannot be.
        """
        count, squares = int(state["count"]), float(state["squares"])
        if not (count >= 0 and 0.0 <= squares < math.inf):
            raise ValueError(f"a sum of {count} squares is {squares}")
        self._cusum.load(state["cusum"])
        self._count, self._squares = count, squares


class DetectorLinUCB(EstimatePlayer[Factor]):
    """One learner. Implements `Policy`.

    Attributes:
        alarms: how often it has forgotten.

    Args:
        device_columns: d booleans, the context columns of what runs on the device.
        settings: how it chooses.
        slack, threshold, clip: see `Cusum`.
        keep_frames: of how many of the last frames an alarm leaves the rows, the one that raised it included.
        warm_up_frames: residuals of a part before its CUSUM begins: the deviation of fewer says little.
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
        warm_up_frames: int = 10,
        name: str = "detector_linucb",
    ) -> None:
        if warm_up_frames < 1:
            raise ValueError(f"warm_up_frames is {warm_up_frames}, expected at least 1")
        self.name = name
        self.alarms = 0
        super().__init__(device_columns, settings)
        self._ridge = Statistics.ridge(len(device_columns), settings.regularisation)
        self._recent = [RecentFrames(len(device_columns), keep_frames) for _ in range(_PARTS)]
        self._watches = [
            _Watch(Cusum(slack=slack, threshold=threshold, clip=clip), clip, warm_up_frames)
            for _ in range(_PARTS)
        ]
        self._sums = [Statistics.zeros(len(device_columns)) for _ in range(_PARTS)]
        self._estimate = Factor(self._ridge)

    def update(self, arm: int, cost: Cost) -> None:
        """Add the rows of one frame; forget a part's rows but for the last where they are too far off.

        Raises:
            ValueError: no such arm in the latest contexts.
        """
        X, y = self._player.rows(arm, cost, self._estimate)
        grown = [
            sums.add_rows(x[None, :], each[None]) for sums, x, each in zip(self._sums, X, y, strict=False)
        ]
        familiar, residuals_s = self._residuals(X, y)
        for part, sums in enumerate(grown):
            self._sums[part] = sums
            self._recent[part].append((X[part : part + 1], y[part : part + 1]))
            if familiar[part] and self._watches[part].observe(float(residuals_s[part])):
                self._forget(part)
        self._estimate = Factor(sum(self._sums, start=self._ridge))

    def _residuals(self, X: Matrix, y: Vector) -> tuple[Mask, Vector]:
        """Return which rows V knows well enough, and the recursive residuals of all, each (m,)."""
        mean, width = self._estimate.predict(X)
        return width <= _FAMILIAR, (y - mean) / np.sqrt(1.0 + width**2)

    def _forget(self, part: int) -> None:
        """Leave the last rows of a part."""
        self.alarms += 1
        self._sums[part] = self._recent[part].on(Statistics.zeros(self._ridge.dimension))
        self._watches[part].reset()

    def dump(self) -> Dump:
        """Return sums, last rows and detectors of both parts, and the place in the schedule of probes."""
        return {
            "sums": [sums.dump() for sums in self._sums],
            "recent": [recent.dump() for recent in self._recent],
            "watches": [watch.dump() for watch in self._watches],
            "alarms": self.alarms,
            "player": self._player.dump(),
        }

    def load(self, state: Dump) -> None:
        """Take over what `dump` returned.

        Raises:
            ValueError: invalid sums, rows or detectors.
        """
        loaded = [Statistics.load(sums) for sums in state["sums"]]
        factor = Factor(sum(loaded, start=self._ridge))
        for part in range(_PARTS):
            self._recent[part].load(state["recent"][part])
            self._watches[part].load(state["watches"][part])
        self._sums, self._estimate = loaded, factor
        self.alarms = int(state["alarms"])
        self._player.load(state["player"])
