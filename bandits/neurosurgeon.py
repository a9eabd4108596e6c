"""Neurosurgeon, a rival: predict every cut from offline profiles and the present bandwidth, play the best.

Kang et al., "Neurosurgeon: Collaborative Intelligence Between the Cloud and Mobile Edge", ASPLOS 2017.
There, latency of each kind of layer is regressed offline on device and server, and the bandwidth is measured.
Nothing is explored. In its favour here: the bandwidth comes from the same filter that our learner has, so a
transfer of any size teaches it, and a device that has stayed alone probes as ours does.
"""

import numpy as np
import numpy.typing as npt

from bandits.arrays import Dump, Matrix, Vector, require_finite
from bandits.between import Between
from bandits.link_estimate import DEFAULT, LinkSettings
from bandits.policy import Contexts, Cost, LinkCheck
from bandits.probing import ProbeSchedule


class Neurosurgeon:
    """One device's predictor.

    Args:
        compute_s: shape (K,), predicted seconds of device and edge together, for each arm.
        dimension: d of the contexts.
        link_column: of what is sent; an arm with zero there stays on the device.
        front_s: shape (K,), the device's part of it, by which a queue that an edge worker has told of is
            shorter; nothing when not given.
        link: of the bandwidth's estimate.
        probe_after_frames: device-only frames before one is offloaded to measure the bandwidth.
        probe_largest_gap_frames: bound of the gap's doubling.
        link_checks: whether the bandwidth's estimate heeds link checks too.
        name: how tables call it.

    Attributes:
        heeds_link_checks: as `link_checks` says.

    Raises:
        ValueError: predictions that are not finite, or a setting out of range.
    """

    def __init__(
        self,
        compute_s: npt.ArrayLike,
        dimension: int,
        link_column: int,
        *,
        front_s: npt.ArrayLike | None = None,
        link: LinkSettings = DEFAULT,
        probe_after_frames: int = 32,
        probe_largest_gap_frames: int = 256,
        link_checks: bool = True,
        name: str = "neurosurgeon",
    ) -> None:
        self.name = name
        self._compute_s = require_finite(compute_s, (None,), "compute_s").copy()
        K = self._compute_s.shape[0]
        self._front_s = np.zeros(K) if front_s is None else require_finite(front_s, (K,), "front_s").copy()
        self._column = link_column
        self._contexts = Contexts(dimension)
        self._between = Between(link)
        self._probes = ProbeSchedule(probe_after_frames, probe_largest_gap_frames)
        self.heeds_link_checks = link_checks
        self._forced = False
        self._expected_s: Vector = np.zeros(0)  # of the latest contexts, when they were looked at

    def select(self, contexts: Matrix) -> int:
        """Return the arm predicted to be fastest; where a probe is due, among those that offload.

        Raises:
            ValueError: contexts of another shape, or not one row for each predicted arm.
        """
        X = require_finite(contexts, (self._compute_s.shape[0], None), "contexts")
        predicted = self._expected_s = self._predict(self._contexts.remember(X))
        arm = int(predicted.argmin())
        offloads = X[:, self._column] > 0.0
        # An offload that it has chosen by itself is none that was forced.
        self._forced = bool(self._probes.due() and not offloads[arm] and offloads.any())
        return int(np.where(offloads, predicted, np.inf).argmin()) if self._forced else arm

    def update(self, arm: int, cost: Cost) -> None:
        """Measure the bandwidth, where the frame has used the link.

        A reply that never came is a lower bound on what the link took: it counts as the bound or as what was
        believed, whichever is longer.

        Raises:
            ValueError: no such arm in the latest contexts.
        """
        units = float(self._contexts.row(arm)[self._column])
        told_s = float(self._between.told_s(self._front_s[arm] + self._between.expected_s(units)))
        self._between.pass_time()
        offloads = units > 0.0
        self._probes.played(offloads=offloads, forced=self._forced and offloads)
        if not offloads:
            self._between.stayed()
            return
        self._probes.learned(cheaper=not cost.censored and cost.total_s < self._expected_s[arm])
        link_s = max(0.0, cost.total_s - float(self._compute_s[arm])) if cost.link_s is None else cost.link_s
        if cost.refused:
            # With what the device then did by itself: that is what asking costs at present.
            self._between.refused(max(0.0, cost.total_s - float(self._compute_s[arm])))
        elif cost.censored:
            self._between.waited(units, link_s)
        else:
            wait_s = min(cost.wait_s, link_s)
            self._between.answered(units, link_s - wait_s, max(0.0, wait_s - told_s))

    @property
    def wants_long_checks(self) -> bool:
        """As `HeedsLinkChecks.wants_long_checks`."""
        return self._between.in_vain

    def ahead_s(self, units: float) -> float:
        """As `HeedsLinkChecks.ahead_s`."""
        return self._between.ahead_s(units)

    def link_checked(self, check: LinkCheck) -> None:
        """As `HeedsLinkChecks.link_checked`."""
        self._between.checked(check)

    def told(self, free_s: float, jobs: float) -> None:
        """As `HeedsQueues.told`; it looks after itself, whoever waits behind."""
        del jobs
        self._between.told(free_s)

    def _predict(self, X: Matrix) -> Vector:
        units = X[:, self._column]
        predicted: Vector = self._compute_s + (units > 0.0) * self._between.predict(units, self._front_s)[0]
        return predicted

    def dump(self) -> Dump:
        """Return what is believed of the link, and the place in the schedule."""
        return {"between": self._between.dump(), "probes": self._probes.dump()}

    def load(self, state: Dump) -> None:
        """Take over what `dump` returned.

        Raises:
            ValueError: a state that is not finite.
        """
        self._between.load(state["between"])
        self._probes.load(state["probes"])
