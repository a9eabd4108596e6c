"""ANS, the non-cooperative baseline: muLinUCB over the back end, with a known front end.

Zhang et al., "Autodidactic Neurosurgeon: Collaborative Deep Inference for Mobile Edge Intelligence via
Online Learning", WWW 2021. The device part comes from a profile; only link and edge are learned:

    score_p = front_p + theta^T x_p - a sqrt((1 - L) x_p^T A^-1 x_p),   L = 0.8 on key frames, else 0.2.

The device-only arm has x = 0 and gives no feedback, so plain LinUCB would never leave it: within a phase
of T frames every ceil(T^0.25)-th is forced to offload; T starts at 200 and doubles with each phase.
Two departures, both in its favour: columns scaled to O(1), and the best constant `a` for seconds.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bandits.arrays import Dump, Matrix, require_finite, require_mask
from bandits.factor import Factor
from bandits.policy import Contexts, Cost
from bandits.statistics import Statistics

KEY_FRAME_WEIGHT = 0.8
OTHER_FRAME_WEIGHT = 0.2
FIRST_PHASE_FRAMES = 200


class ANS:
    """One device's muLinUCB.

    Attributes:
        key_frame: set it before `select`: the frame differs from the last (SSIM below 0.8).

    Args:
        front_s: shape (K,), profiled seconds of head and encode of each arm.
        edge_columns: d booleans, the context columns of back end and link; an arm that has only zeros
            there is the device-only arm.
        a_s: exploration, seconds.
        regularisation: of A = lambda I + sum x x^T.
        name: how tables call it.

    Raises:
        ValueError: a setting out of range, no edge column.
    """

    def __init__(
        self,
        front_s: npt.ArrayLike,
        edge_columns: Sequence[bool] | npt.NDArray[np.bool_],
        *,
        a_s: float = 0.3,
        regularisation: float = 0.1,
        name: str = "ans",
    ) -> None:
        if not 0.0 <= a_s < np.inf:
            raise ValueError(f"a_s is {a_s}, expected a finite number, not negative")
        self.name = name
        self.a_s = a_s
        self.key_frame = False
        self._front_s = require_finite(front_s, (None,), "front_s").copy()
        self._columns = require_mask(edge_columns, len(edge_columns), "edge_columns")
        if not self._columns.any():
            raise ValueError("no context column describes the edge")
        self._statistics = Statistics.ridge(int(self._columns.sum()), regularisation)
        self._factor = Factor(self._statistics)
        self._contexts = Contexts(self._columns.shape[0])
        self._phase_frames = FIRST_PHASE_FRAMES
        self._frame = 0

    def select(self, contexts: Matrix) -> int:
        """Return the arm with the lowest optimistic cost; on a forced frame, among those that offload.

        Raises:
            ValueError: contexts of another shape, or not one row for each profiled arm.
        """
        X = require_finite(contexts, (self._front_s.shape[0], None), "contexts")
        X = self._contexts.remember(X)[:, self._columns]
        mean, width = self._factor.predict(X)
        weight = KEY_FRAME_WEIGHT if self.key_frame else OTHER_FRAME_WEIGHT
        score = self._front_s + mean - self.a_s * math.sqrt(1.0 - weight) * width
        offloads = X.any(axis=1)
        if self._next_frame_is_forced() and offloads.any():
            score = np.where(offloads, score, np.inf)
        return int(np.argmin(score))

    def _next_frame_is_forced(self) -> bool:
        """Count one frame; true on every ceil(T^0.25)-th of a phase."""
        if self._frame == self._phase_frames:
            self._frame = 0
            self._phase_frames *= 2
        self._frame += 1
        return self._frame % math.ceil(math.sqrt(math.sqrt(self._phase_frames))) == 0

    def update(self, arm: int, cost: Cost) -> None:
        """Learn link and edge time of an offloaded frame; the device-only arm teaches nothing.

        Raises:
            ValueError: no such arm in the latest contexts.
        """
        X = self._contexts.row(arm)[None, self._columns]
        if not X.any():
            return
        rest_s = cost.rest_s
        if rest_s is None:
            rest_s = max(0.0, cost.total_s - float(self._front_s[arm]))
        if cost.censored:
            rest_s = max(rest_s, float(self._factor.predict(X)[0][0]))
        y = np.array([rest_s])
        grown = self._statistics.add_rows(X, y)
        self._factor.append(X, y)
        self._statistics = grown

    def dump(self) -> Dump:
        """Return statistics and the place in the schedule."""
        return {
            "statistics": self._statistics.dump(),
            "phase_frames": self._phase_frames,
            "frame": self._frame,
        }

    def load(self, state: Dump) -> None:
        """Take over what `dump` returned.

        Raises:
            ValueError: invalid statistics.
        """
        statistics = Statistics.load(state["statistics"])
        self._factor = Factor(statistics)
        self._statistics = statistics
        self._phase_frames = int(state["phase_frames"])
        self._frame = int(state["frame"])
