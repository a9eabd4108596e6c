"""FedLinUCB-DW, device side: choose by a lower confidence bound over what device and group know.

score_p = <theta, x_p> + o_p + l_p - beta sqrt(x_p^T V^-1 x_p) - k sd(l_p) + n e_p, theta = V^-1 b, (V, b) =
the member's view; o_p is the arm's own offset (`offsets.py`), l_p what the device's link is believed to
take, and x_p scaled by how slow its stages are just now (`conditions.py`), each as nothing where switched
off. The last term is a toll: where n jobs are in the edge worker's line, about as many will be behind this
one, and each of them waits for its tail, e_p (ADR 31). An independent design after the abstract of arXiv
2606.09175; the upload rule follows FedLinUCB (He et al. 2022).

What it does for you: splits feedback, bounds censored costs from below, probes the link when stuck on the
device, rebuilds its factor when a broadcast is adopted. What it will not do: talk to the aggregator;
that is `member`, driven by the device's session. `member.upload_due()` is worth asking after each update.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bandits.arrays import Dump, Mask, Matrix, Vector, require_finite, require_mask
from bandits.conditions import Conditions
from bandits.factor import Factor
from bandits.member import Member
from bandits.offsets import ArmOffsets
from bandits.policy import Contexts, Cost, Exits, LinkCheck
from bandits.probing import ProbeSchedule
from bandits.safety import Safety
from bandits.settings import Settings

DEFAULT_SETTINGS = Settings()
_ENOUGH_ROWS = 16
"""Own rows whose residuals say what the noise is."""


class FedLinUCBDW:
    """One device's learner.

    Attributes:
        member: the federation half; `join`, uploads, acknowledgements and broadcasts go there.
        forced: whether the latest `select` was a forced offload.
        exits: as `HeedsExits.exits`; their runs enter the choice, the costs of an arm are those without them.

    Args:
        device_columns: d booleans, the context columns of what runs on the device (front and encode);
            an arm whose other columns are all zero is the device-only arm.
        settings: the switches.
        link_column: index of the column of what is sent; needed where the link is measured.
        boot: starts of this install so far.
        name: how tables call it.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(
        self,
        device_columns: Sequence[bool] | npt.NDArray[np.bool_],
        settings: Settings = DEFAULT_SETTINGS,
        *,
        link_column: int | None = None,
        boot: int = 0,
        name: str = "fedlinucb_dw",
    ) -> None:
        d = len(device_columns)
        if settings.link == "measured" and link_column is None:
            raise ValueError("a measured link needs to know which column is the link's")
        self.name = name
        self.settings = settings
        self.forced = False
        self.exits: Exits | None = None
        self.member = Member(
            d,
            regularisation=settings.regularisation,
            alpha=settings.alpha,
            view=settings.view,
            start=settings.start,
            boot=boot,
        )
        self._device_columns = require_mask(device_columns, d, "device_columns")
        self._rest_columns = np.flatnonzero(~self._device_columns)
        self._contexts = Contexts(d)
        # Of the latest contexts: which arms use link and edge, and what each was expected to cost.
        self._offloading: Mask = np.zeros(0, dtype=np.bool_)
        self._expected_s: Vector = np.zeros(0)
        self._unsure_s: Vector = np.zeros(0)
        self._offsets = (
            None
            if settings.offset_pseudo_rows is None
            else ArmOffsets(d, pseudo_rows=settings.offset_pseudo_rows, forgetting=settings.offset_forgetting)
        )
        self._probes = (
            None
            if settings.probe_after_frames is None
            else ProbeSchedule(settings.probe_after_frames, settings.probe_largest_gap_frames)
        )
        self._own_rows, self._own_squares = 0, 0.0  # of residuals before each row was learnt
        self._behind = 0.0  # jobs that will wait for the next one, as far as anybody has told
        self._looked = False  # at what the device-only arm really costs
        self._safety = None if settings.safety is None else Safety(settings.safety, settings.safety_frames)
        self._conditions = (
            Conditions(self._device_columns, link_column, settings)
            if settings.link == "measured" and link_column is not None
            else None
        )
        self._factor = Factor(self.member.view())
        self._epoch = self.member.epoch

    @property
    def theta(self) -> Vector:
        """The present estimate, shape (d,), seconds per unit of each column."""
        return self._current_factor().theta

    @property
    def beta_s(self) -> float:
        """The present exploration radius, seconds."""
        if self.settings.beta_s is not None:
            return self.settings.beta_s
        factor, settings = self._current_factor(), self.settings
        unseen_s = settings.beta_prior * math.sqrt(settings.regularisation) * factor.scale_s
        return settings.beta_noise * self._noise_s(factor) + unseen_s

    def _noise_s(self, factor: Factor) -> float:
        """Return the residuals' standard deviation: the group's, or this device's own where that is less.

        One member that lies makes the whole group's residuals large, and all of them explore for ever.
        """
        if self._conditions is None or self._own_rows < _ENOUGH_ROWS:
            return factor.noise_s
        return min(factor.noise_s, math.sqrt(self._own_squares / self._own_rows))

    def predict(self, contexts: Matrix) -> tuple[Vector, Vector]:
        """Return expected cost and width sqrt(x^T V^-1 x), each (K,), of contexts (K, d)."""
        known, width, between_s, _ = self._predict(contexts)
        return known + between_s, width

    def _predict(self, X: Matrix) -> tuple[Vector, Vector, Vector, Vector]:
        """Return what theta expects and its width, what lies between device and edge and its deviation; (K,).

        Where the link is measured, theta's parts are durations of stages, and none is expected below zero:
        parameters that others have spoiled may say so of arms that nobody has played.
        """
        factor, conditions = self._current_factor(), self._conditions
        seen = X if conditions is None else conditions.seen(X)
        known, width = factor.predict(seen)
        device = np.zeros_like(known)
        if conditions is not None:
            device = np.maximum(seen[:, self._device_columns] @ factor.theta[self._device_columns], 0.0)
            known = device + np.maximum(known - device, 0.0)
        if self._offsets is not None:
            known = known + self._offsets.predict(factor.theta, known.shape[0])
        if conditions is None:
            return known, width, device, device
        return np.maximum(known, 0.0), width, *conditions.between(X, self._offloads(X), device)

    def select(self, contexts: Matrix) -> int:
        """Return the arm with the lowest optimistic cost, the first of equals.

        Raises:
            ValueError: contexts of another shape, NaN or infinity.
        """
        X = self._contexts.remember(contexts)
        self._offloading = self._offloads(X)
        known, width, between_s, spread_s = self._predict(X)
        self._expected_s = known + between_s
        own_s = self.beta_s * width
        self._unsure_s = own_s + spread_s
        optimism_s = own_s + self._link_optimism() * spread_s
        score = self._expected_s - optimism_s + self._toll_s(X)
        self._behind = 0.0
        arm, self.forced = self._choose(self._with_exits(score))
        alone = self._alone_arm()
        if alone is not None and self._offloading[arm]:
            upper_s = float(self._expected_s[arm] + own_s[arm] + spread_s[arm])
            if self._look_due(arm, alone) or not self._is_safe(upper_s, alone):
                arm, self.forced = alone, False
        return arm

    @property
    def knows(self) -> int:
        """As `Expects.knows`."""
        return self.member.version

    def expected(self, arm: int) -> tuple[float, float]:
        """As `Expects.expected`."""
        self._contexts.row(arm)
        return float(self._expected_s[arm]), float(self._unsure_s[arm])

    def told(self, free_s: float, jobs: float) -> None:
        """As `HeedsQueues.told`; where the link is learned, a wait is too."""
        if self._conditions is not None:
            self._conditions.told(free_s)
            self._behind = jobs if free_s > 0.0 else 0.0

    def _toll_s(self, X: Matrix) -> Vector | float:
        """Return what each arm would take from those who wait behind it, (K,); 0 where nobody does."""
        if self._conditions is None or self._behind == 0.0:
            return 0.0
        rest, factor = self._rest_columns, self._current_factor()
        tail_s = np.maximum(self._conditions.seen(X)[:, rest] @ factor.theta[rest], 0.0)
        return self.settings.toll * self._behind * tail_s

    def _link_optimism(self) -> Vector:
        """Return standard deviations of each arm, (K,): a whole one until a transfer has told the rate.

        So one is made; not by an arm that is believed to cost several times the cheapest.
        """
        base = np.full(self._expected_s.shape, self.settings.link_optimism)
        if self._conditions is None or not self._conditions.unit_unknown or self.settings.look_within is None:
            return base
        worth = self._expected_s <= self.settings.look_within * self._expected_s.min()
        return np.where(worth, np.maximum(base, 1.0), base)

    def _with_exits(self, score: Vector) -> Vector:
        """Return the lower bounds (K,) of arms that early exits may cut short: each run's, by its odds."""
        if self.exits is None:
            return score
        conditions, early = self._conditions, self.exits.early
        mean, width = self._current_factor().predict(early if conditions is None else conditions.seen(early))
        return self.exits.stay * score + mean - self.beta_s * width

    def _look_due(self, arm: int, alone: int) -> bool:
        """Whether what is believed of the device-only arm is to be seen once before `arm` is played."""
        times = self.settings.look_within
        if self._looked or times is None:
            return False
        return bool(self._expected_s[alone] <= times * self._expected_s[arm])

    def _is_safe(self, upper_s: float, alone: int) -> bool:
        """Whether an arm that costs at most `upper_s` may be played."""
        return self._safety is None or self._safety.allows(upper_s, float(self._expected_s[alone]))

    def _choose(self, score: Vector) -> tuple[int, bool]:
        """Return the arm of the lowest score, and whether it was forced off the device."""
        arm = int(score.argmin())
        if self._probes is None or not self._probes.due() or self._offloading[arm]:
            return arm, False
        if self.heeds_link_checks and self._conditions is not None and self._conditions.link_out:
            return arm, False  # checks will say when it is back: the probe stays due
        others = np.where(self._offloading, score, np.inf)
        best = int(others.argmin())
        return (best, True) if others[best] < np.inf else (arm, False)

    def _alone_arm(self) -> int | None:
        """Return the first arm of the latest contexts that uses neither link nor edge."""
        arm = int(self._offloading.argmin())
        return None if self._offloading[arm] else arm

    def update(self, arm: int, cost: Cost) -> None:
        """Add the rows of one frame.

        A censored cost is a lower bound: it counts as the bound or as the prediction, whichever is higher,
        so a reply that never came cannot make an arm look cheap, nor is its row dropped.

        Raises:
            ValueError: no such arm in the latest contexts.
        """
        x = self._contexts.row(arm)
        self._looked = self._looked or not self._offloading[arm]
        if self._probes is not None:
            self._note_probe(self._probes, arm, cost)
        if self._safety is not None:
            self._note_debt(self._safety, cost)
        X, y = self._learn(x, cost)
        # What was never answered says nothing of an arm, beside the estimates that have taken it.
        if self._offsets is not None and not (self._conditions is not None and cost.censored):
            self._offsets.observe(arm, X.sum(axis=0), float(y.sum()))

    def exited(self, context: Vector, device_s: float) -> None:
        """As `HeedsExits.exited`: a row of the device's own columns, like those of the warm start.

        Raises:
            ValueError: a context that is no (d,) of finite numbers, or has what is not the device's own.
        """
        x = require_finite(context, self._device_columns.shape, "context")
        if x[self._rest_columns].any():
            raise ValueError("an early exit uses neither link nor edge, and this context does")
        self._learn(x, Cost(device_s, device_s))

    def _learn(self, x: Vector, cost: Cost) -> tuple[Matrix, Vector]:
        """Add what a frame with context x (d,) cost; return the rows (m, d) and costs (m,) added."""
        factor = self._current_factor()
        X, y = self._rows_of(x, cost) if self._conditions is None else self._conditions.rows(x, cost, factor)
        self.member.observe(X, y)
        residuals_s = y - X @ factor.theta
        self._own_squares += float(residuals_s @ residuals_s)
        self._own_rows += X.shape[0]
        if self.settings.view == "fresh":
            factor.append(X, y)
        return X, y

    @property
    def heeds_link_checks(self) -> bool:
        """As `HeedsLinkChecks.heeds_link_checks`."""
        return self._conditions is not None and self.settings.link_checks

    @property
    def wants_long_checks(self) -> bool:
        """As `HeedsLinkChecks.wants_long_checks`."""
        return self._conditions is not None and self._conditions.in_vain

    def ahead_s(self, units: float) -> float:
        """As `HeedsLinkChecks.ahead_s`."""
        return 0.0 if self._conditions is None else self._conditions.ahead_s(units)

    def link_checked(self, check: LinkCheck) -> None:
        """As `HeedsLinkChecks.link_checked`."""
        if self._conditions is not None:
            self._conditions.link_checked(check)

    def _note_probe(self, probes: ProbeSchedule, arm: int, cost: Cost) -> None:
        """Count the frame as it was played: where nobody could be offloaded to, a probe stays due."""
        offloads = bool(self._offloading[arm])
        forced = self.forced and offloads
        probes.played(offloads=offloads, forced=forced)
        if forced:
            probes.learned(cheaper=not cost.censored and cost.total_s < self._expected_s[arm])

    def _note_debt(self, safety: Safety, cost: Cost) -> None:
        """Count what the frame cost beyond the device-only arm, where there is one."""
        alone = self._alone_arm()
        if alone is not None:
            safety.played(cost.total_s, float(self._expected_s[alone]))

    def _rows_of(self, x: Vector, cost: Cost) -> tuple[Matrix, Vector]:
        """Return the regression rows of one frame: one, or the device part and the rest."""
        device = x * self._device_columns
        rest = x - device
        if self.settings.feedback == "total" or cost.device_s is None or not rest.any():
            return x[None, :], np.array([self._at_least(x, cost.total_s, censored=cost.censored)])
        rest_s = max(0.0, cost.total_s - cost.device_s)
        rest_s = self._at_least(rest, rest_s, censored=cost.censored)
        return np.stack([device, rest]), np.array([cost.device_s, rest_s])

    def _at_least(self, x: Vector, observed_s: float, *, censored: bool) -> float:
        """Return an observation as it is, and a lower bound as no less than the prediction."""
        if not censored:
            return observed_s
        return max(observed_s, self._current_factor().mean(x))

    def _offloads(self, X: Matrix) -> Mask:
        """Which arms, rows of X (K, d), use link and edge."""
        return np.asarray(X[:, self._rest_columns].any(axis=1), dtype=np.bool_)

    def _current_factor(self) -> Factor:
        """The factor of the member's view, rebuilt by Cholesky when a broadcast changed it."""
        if self._epoch != self.member.epoch:
            self._factor = Factor(self.member.view())
            self._epoch = self.member.epoch
        return self._factor

    def dump(self) -> Dump:
        """Return the whole state as primitives and arrays."""
        return {
            "member": self.member.dump(),
            "offsets": None if self._offsets is None else self._offsets.dump(),
            "probes": None if self._probes is None else self._probes.dump(),
            "safety": None if self._safety is None else self._safety.dump(),
            "conditions": None if self._conditions is None else self._conditions.dump(),
            "looked": self._looked,
            "own_rows": self._own_rows,
            "own_squares": self._own_squares,
        }

    def load(self, state: Dump) -> None:
        """Take over what `dump` returned; parts that are switched off now are skipped.

        Raises:
            ValueError: invalid statistics, or a boot older than the state's.
        """
        if self._offsets is not None and state["offsets"] is not None:
            self._offsets.load(state["offsets"])
        if self._probes is not None and state["probes"] is not None:
            self._probes.load(state["probes"])
        if self._safety is not None and state.get("safety") is not None:
            self._safety.load(state["safety"])
        if self._conditions is not None and state.get("conditions") is not None:
            self._conditions.load(state["conditions"])
        rows, squares = int(state.get("own_rows", 0)), float(state.get("own_squares", 0.0))
        if rows < 0 or not 0.0 <= squares < math.inf:
            raise ValueError(f"residuals of {rows} rows cannot have the sum of squares {squares}")
        self.member.load(state["member"])
        self._own_rows, self._own_squares = rows, squares
        self._looked = bool(state.get("looked", False))  # not in states of 0.1
