"""What the rivals that forget have in common: how they choose, which rows a frame makes, when they probe.

How they forget is their own (`discounted_linucb`, `windowed_linucb`, `detector_linucb`). This file must hold
no regression and forget nothing. Radius, split feedback, censored costs and probes are those of
`fedlinucb.py`, so that what a table shows between them is the forgetting.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from bandits.arrays import Dump, Matrix, Vector, require_mask
from bandits.policy import Contexts, Cost
from bandits.probing import ProbeSchedule
from bandits.settings import Feedback


@dataclass(frozen=True, slots=True)
class PlayerSettings:
    """Switches that do not say how it forgets; each as in `bandits.settings.Settings`.

    Raises:
        ValueError: a setting out of range.
    """

    regularisation: float = 0.1
    beta_s: float | None = None
    beta_noise: float = 1.0
    beta_prior: float = 0.3
    feedback: Feedback = "split"
    probe_after_frames: int | None = 32
    probe_largest_gap_frames: int = 256

    def __post_init__(self) -> None:
        """Refuse what would surface only frames later."""
        if self.feedback not in get_args(Feedback):
            raise ValueError(f"feedback {self.feedback!r} is none of {get_args(Feedback)}")
        for name in ("beta_s", "beta_noise", "beta_prior"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0.0):
                raise ValueError(f"{name} is {value}, expected a finite number, not negative")


DEFAULT_PLAYER = PlayerSettings()


class Estimate(Protocol):
    """What a regression says at present; `bandits.factor.Factor` is one."""

    @property
    def noise_s(self) -> float:
        """Standard deviation of the residuals, seconds."""
        ...

    @property
    def scale_s(self) -> float:
        """Root mean square of the costs, seconds."""
        ...

    def predict(self, X: Matrix) -> tuple[Vector, Vector]:
        """Return mean and width, each (K,), of contexts (K, d)."""
        ...


class Player:
    """Chooses by an estimate, and turns what a frame cost into rows for it.

    Args:
        device_columns: d booleans, the context columns of what runs on the device; an arm whose other columns
            are all zero is the device-only arm.
        settings: the switches.

    Raises:
        ValueError: no vector of booleans, gaps between probes out of order.
    """

    def __init__(
        self, device_columns: Sequence[bool] | npt.NDArray[np.bool_], settings: PlayerSettings
    ) -> None:
        self.settings = settings
        self._device_columns = require_mask(device_columns, len(device_columns), "device_columns")
        self._contexts = Contexts(len(device_columns))
        self._forced = False
        self._probes = (
            None
            if settings.probe_after_frames is None
            else ProbeSchedule(settings.probe_after_frames, settings.probe_largest_gap_frames)
        )

    def beta_s(self, estimate: Estimate) -> float:
        """Return the exploration radius, seconds: given, or measured as in `FedLinUCBDW.beta_s`."""
        settings = self.settings
        if settings.beta_s is not None:
            return settings.beta_s
        unseen_s = settings.beta_prior * math.sqrt(settings.regularisation) * estimate.scale_s
        return settings.beta_noise * estimate.noise_s + unseen_s

    def select(self, contexts: Matrix, estimate: Estimate) -> int:
        """Return the arm with the lowest optimistic cost, where a probe is due among those that offload.

        Raises:
            ValueError: contexts of another shape, NaN or infinity.
        """
        X = self._contexts.remember(contexts)
        mean, width = estimate.predict(X)
        score = mean - self.beta_s(estimate) * width
        arm = int(score.argmin())
        offloads = self._offloads(X)
        self._forced = (
            self._probes is not None and self._probes.due() and not offloads[arm] and bool(offloads.any())
        )
        return int(np.where(offloads, score, np.inf).argmin()) if self._forced else arm

    def rows(self, arm: int, cost: Cost, estimate: Estimate) -> tuple[Matrix, Vector]:
        """Return the rows (m, d) of one frame and their costs (m,): one, or the device part and the rest.

        A censored cost counts as the bound, or as the prediction where that is higher.

        Raises:
            ValueError: no such arm in the latest contexts.
        """
        x = self._contexts.row(arm)
        if self._probes is not None:
            self._note_probe(self._probes, x, cost, estimate)
        device = x * self._device_columns
        rest = x - device
        if self.settings.feedback == "total" or cost.rest_s is None or not rest.any():
            return x[None, :].copy(), np.array([_at_least(estimate, x, cost.total_s, censored=cost.censored)])
        rest_s = _at_least(estimate, rest, cost.rest_s, censored=cost.censored)
        return np.stack([device, rest]), np.array([cost.device_s, rest_s])

    def _note_probe(self, probes: ProbeSchedule, x: Vector, cost: Cost, estimate: Estimate) -> None:
        """Count the frame as it was played: where nobody could be offloaded to, a probe stays due."""
        offloads = bool(self._offloads(x))
        forced = self._forced and offloads
        probes.played(offloads=offloads, forced=forced)
        if forced:
            probes.learned(cheaper=not cost.censored and cost.total_s < _mean_s(estimate, x))

    def _offloads(self, X: Matrix | Vector) -> npt.NDArray[np.bool_]:
        """Which arms, rows of X (..., d), use link and edge."""
        return np.asarray((X[..., ~self._device_columns] != 0.0).any(axis=-1), dtype=np.bool_)

    def dump(self) -> Dump:
        """Return the place in the schedule of probes."""
        return {"probes": None if self._probes is None else self._probes.dump()}

    def load(self, state: Dump) -> None:
        """Take over what `dump` returned; probes that are switched off now are skipped."""
        if self._probes is not None and state["probes"] is not None:
            self._probes.load(state["probes"])


E = TypeVar("E", bound=Estimate)


class EstimatePlayer(Generic[E]):
    """A policy that is a player and one estimate, which its subclass makes anew with each frame.

    Args:
        device_columns, settings: as for `Player`.
    """

    _estimate: E

    def __init__(
        self, device_columns: Sequence[bool] | npt.NDArray[np.bool_], settings: PlayerSettings
    ) -> None:
        self._player = Player(device_columns, settings)

    @property
    def beta_s(self) -> float:
        """The present exploration radius, seconds."""
        return self._player.beta_s(self._estimate)

    def predict(self, contexts: Matrix) -> tuple[Vector, Vector]:
        """Return expected cost and width, each (K,), of contexts (K, d)."""
        return self._estimate.predict(contexts)

    def select(self, contexts: Matrix) -> int:
        """As `Policy.select`.

        Raises:
            ValueError: contexts of another shape, NaN or infinity.
        """
        return self._player.select(contexts, self._estimate)


def _at_least(estimate: Estimate, x: Vector, observed_s: float, *, censored: bool) -> float:
    """Return an observation as it is, and a lower bound as no less than the prediction."""
    return max(observed_s, _mean_s(estimate, x)) if censored else observed_s


def _mean_s(estimate: Estimate, x: Vector) -> float:
    return float(estimate.predict(x[None, :])[0][0])
