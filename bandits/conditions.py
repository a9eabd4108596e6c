"""What holds for one device at present, and for no other of its group: its link, and how slow its stages are.

The group's theta says what a stage costs on this type of device and at the edge, usually. Between theta and
a frame stand three things of one device and one hour: the link (`link_estimate.py`), a device that throttles,
and an edge worker that is loaded (`slowness_estimate.py`). They are estimated here, from the stage times of
each frame, and never leave the device; what theta is taught is the frame as it would have been without them.
"""

import numpy as np
import numpy.typing as npt

from bandits.arrays import Dump, Matrix, Vector
from bandits.between import Between
from bandits.factor import Factor
from bandits.policy import Cost, LinkCheck
from bandits.settings import Settings
from bandits.slowness_estimate import SlownessEstimate


class Conditions:
    """One device's own estimates.

    Args:
        device_columns: shape (d,), the context columns of the device's own work.
        link_column: index of the column of what is sent.
        settings: of link and slowness.
    """

    def __init__(self, device_columns: npt.NDArray[np.bool_], link_column: int, settings: Settings) -> None:
        self._device_columns = device_columns
        self._edge_columns = ~device_columns
        self._edge_columns[link_column] = False
        self._link_column = link_column
        self._regularisation = settings.regularisation
        self._between = Between(settings.link_settings)
        measured = settings.slowness == "measured"
        self._device = SlownessEstimate(settings.slowness_settings) if measured else None
        self._edge = SlownessEstimate(settings.slowness_settings) if measured else None

    @property
    def unit_unknown(self) -> bool:
        """As that of `LinkEstimate`."""
        return self._between.unit_unknown

    @property
    def link_out(self) -> bool:
        """Whether the link is believed to be out at present."""
        return self._between.link_out

    def seen(self, X: Matrix) -> Matrix:
        """Return contexts (K, d) as theta sees them: without the link, each stage as slow as it is now."""
        return X * (
            self._device_columns * self._slow(self._device) + self._edge_columns * self._slow(self._edge)
        )

    def told(self, free_s: float) -> None:
        """As that of `Between`."""
        self._between.told(free_s)

    def between(self, X: Matrix, offloads: npt.NDArray[np.bool_], front_s: Vector) -> tuple[Vector, Vector]:
        """Return mean and standard deviation, each (K,), of the seconds between device and edge.

        Args:
            X: contexts (K, d).
            offloads: which of them use link and edge worker.
            front_s: what the device computes before, (K,).
        """
        mean_s, spread_s = self._between.predict(X[:, self._link_column], front_s)
        return offloads * mean_s, offloads * spread_s

    def rows(self, x: Vector, cost: Cost, factor: Factor) -> tuple[Matrix, Vector]:
        """Learn from one frame, and return the rows (m, d) and costs (m,) that theta is to be taught.

        A reply that never came says that the link took at least what was waited for, and nothing of the
        edge, until a check says that the link is clear of it (`between.py`). A refusal is what offloading
        costs at present, whatever is sent, with what the device then did by itself.
        """
        units = float(x[self._link_column])
        told_s = self._told_s(cost, units)
        self._pass_time()
        device, rest = x * self._device_columns, x * self._edge_columns
        if not rest.any() and x[self._link_column] == 0.0:
            self._between.stayed()
            return device[None, :], np.array([self._usual(self._device, device, cost.total_s, factor)])
        device_s = cost.total_s if cost.device_s is None else cost.device_s
        rest_s = max(0.0, cost.total_s - device_s)
        usual_device_s = self._usual(self._device, device, device_s, factor)
        if cost.censored:
            self._learn_bound(units, rest_s, self._slow(self._edge) * max(0.0, factor.mean(rest)), cost)
            return device[None, :], np.array([usual_device_s])
        link_s = min(self._between.expected_s(units) if cost.link_s is None else cost.link_s, rest_s)
        if cost.link_s is None:
            return np.stack([device, rest]), np.array([usual_device_s, rest_s - link_s])
        wait_s = min(cost.wait_s, link_s)
        self._between.answered(units, link_s - wait_s, max(0.0, wait_s - told_s))
        usual_edge_s = self._usual(self._edge, rest, rest_s - link_s, factor)
        return np.stack([device, rest]), np.array([usual_device_s, usual_edge_s])

    def _told_s(self, cost: Cost, units: float) -> float:
        """Return the part of a frame's wait that the edge worker had announced."""
        return float(self._between.told_s((cost.device_s or 0.0) + self._between.expected_s(units)))

    @property
    def in_vain(self) -> bool:
        """As that of `Between`."""
        return self._between.in_vain

    def ahead_s(self, units: float) -> float:
        """As that of `Between`."""
        return self._between.ahead_s(units)

    def link_checked(self, check: LinkCheck) -> None:
        """Learn from the link alone."""
        self._between.checked(check)

    def _learn_bound(self, units: float, rest_s: float, edge_s: float, cost: Cost) -> None:
        """Learn what a frame without an answer says of what lies between."""
        if cost.refused:
            self._between.refused(max(0.0, rest_s - edge_s))
            return
        waited_s = rest_s if cost.link_s is None else cost.link_s
        self._between.waited(units, max(0.0, waited_s - edge_s))

    def _usual(
        self, estimate: SlownessEstimate | None, x: Vector, measured_s: float, factor: Factor
    ) -> float:
        """Learn how slow a stage was, and return what it would have taken as it usually is."""
        if estimate is None:
            return measured_s
        mean, width = factor.predict(x[None, :])
        # The spread of what is expected: noise seen so far, and costs never seen in some direction.
        spread = factor.noise_s + np.sqrt(self._regularisation) * factor.scale_s
        estimate.observe(measured_s, float(mean[0]), float(spread * width[0]))
        return measured_s / estimate.factor

    @staticmethod
    def _slow(estimate: SlownessEstimate | None) -> float:
        return 1.0 if estimate is None else estimate.factor

    def _pass_time(self) -> None:
        self._between.pass_time()
        for estimate in (self._device, self._edge):
            if estimate is not None:
                estimate.pass_time()

    def dump(self) -> Dump:
        """Return all estimates."""
        return {
            "between": self._between.dump(),
            "device": None if self._device is None else self._device.dump(),
            "edge": None if self._edge is None else self._edge.dump(),
        }

    def load(self, state: Dump) -> None:
        """Take over what `dump` returned; parts that are switched off now are skipped.

        Raises:
            ValueError: an invalid estimate.
        """
        self._between.load(state["between"] if "between" in state else state["link"])
        for estimate, saved in ((self._device, state["device"]), (self._edge, state["edge"])):
            if estimate is not None and saved is not None:
                estimate.load(saved)
