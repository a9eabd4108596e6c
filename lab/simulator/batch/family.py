"""All lanes of a member of the family: `FederatedTeam` and `FedLinUCBDW`, many at once.

A period goes in waves. All lanes that have not played yet choose and see what they would learn; in each group
the first in time whose upload is then due, and those before it, have really played, since nothing changed for
them. The upload is merged, and the rest of its group plays again. Each upload at least multiplies the
determinant of its group's gram by 1 + alpha, so in long runs most periods are one wave.

What it keeps for a lane is V^-1 and theta (`regressions.py`) of the known statistics plus its own rows since
its last upload. Those rows are kept as how often each arm was played, since contexts never change.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bandits.arrays import Mask, Matrix, Vector
from lab.simulator import spec
from lab.simulator.batch.arms import Arms
from lab.simulator.batch.crowds import ArmIndices
from lab.simulator.batch.periods import Period, Site
from lab.simulator.batch.probes import Probes
from lab.simulator.batch.regressions import Lanes, Regressions, Step
from lab.simulator.batch.sums import Sums
from lab.simulator.sharing import groups_of
from lab.simulator.traffic import Traffic

_LANES_AT_ONCE = 1024  # what they need meanwhile fits the cache
_REBUILD_FRAMES = 256  # how long rounding may gather

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """What n lanes would play and learn. Shapes (n,), costs (n, 2)."""

    lanes: Lanes
    indices: Indices
    arms: ArmIndices
    costs: Matrix
    step: Step
    due: Mask
    forced: Mask
    cheaper: Mask


class FamilyCrowd:
    """Implements `Crowd`.

    Args:
        learner: switches, within `scope.py`.
        sites: one a seed, alike but for the seed.
    """

    def __init__(self, learner: spec.Family, sites: Sequence[Site]) -> None:
        site = sites[0]
        self._learner = learner
        self._arms = Arms.of(site.contexts, site.world.device_columns, split=learner.feedback == "split")
        K, d = site.contexts.shape  # noqa: N806 - as in the literature
        self._lanes = len(sites) * site.order.size
        self._group_of, self._seed_of_group = _groups(learner, sites)
        groups = self._seed_of_group.size
        self._members = np.bincount(self._group_of, minlength=groups)
        self._to_all = learner.download == "members" or learner.share == "device"
        self._groups = Sums(groups, d, learner.regularisation)
        # What each lane adopted: its group as it is now, or as it was when the lane last uploaded.
        self._known = self._groups if self._to_all else Sums(self._lanes, d, learner.regularisation)
        self._known_of = self._group_of if self._to_all else np.arange(self._lanes)
        self._regressions = Regressions(self._lanes, d, learner.regularisation)
        self._stale = np.zeros(self._lanes, dtype=np.bool_)
        self._plays = np.zeros((self._lanes, K), dtype=np.int32)
        self._moment = np.zeros((self._lanes, d))
        self._squares, self._growth = np.zeros(self._lanes), np.zeros(self._lanes)
        self._offset_counts, self._offset_costs = np.zeros((2, self._lanes, K if learner.offsets else 0))
        self._probes = Probes(
            self._lanes,
            learner.probe_after_frames,
            max(learner.probe_largest_gap_frames, learner.probe_after_frames),
        )
        self._frames = 0
        self._uploads, self._downloads = np.zeros((2, len(sites)), dtype=np.int64)
        for number, one in enumerate(sites if learner.warm_start else ()):
            self._join(one, number * site.order.size)

    @property
    def traffic(self) -> list[Traffic]:
        """As `Crowd.traffic`."""
        counted = []
        for uploads, downloads in zip(self._uploads.tolist(), self._downloads.tolist(), strict=True):
            traffic = Traffic()
            for _ in range(uploads):
                traffic.upload(self._arms.contexts.shape[1])
            traffic.download(self._arms.contexts.shape[1], downloads)
            counted.append(traffic)
        return counted

    def _join(self, site: Site, first: int) -> None:
        """Give the groups the experience of each device of a site, whose lanes begin at `first`."""
        gram, moments, squares = site.experience(self._learner.warm_start)
        count = np.array([float(self._learner.warm_start)])
        lanes = first + np.argsort(site.order)
        for device, lane in enumerate(lanes[:, None]):
            group = self._group_of[lane]
            self._groups.add(group, gram, moments[device], squares[device], count)
            if not self._to_all:
                self._known.copy_from(self._groups, lane, group)
            self._count_messages(group)
        self._stale[lanes] = True

    def play(self, period: Period) -> ArmIndices:
        """As `Crowd.play`."""
        self._frames += 1
        if self._frames % _REBUILD_FRAMES == 0:
            self._stale[:] = True
        arms = np.empty(self._lanes, dtype=np.int64)
        waiting: Indices | None = None
        while waiting is None or waiting.size:
            trials = [self._try(lanes, period) for lanes in self._chunks(waiting)]
            uploaders = self._first_of_groups(np.concatenate([each.indices[each.due] for each in trials]))
            left = [self._commit(trial, uploaders, arms) for trial in trials]
            if uploaders.size:
                self._upload(uploaders)
            waiting = np.concatenate(left)
        return arms

    def _chunks(self, waiting: Indices | None) -> Iterator[Lanes]:
        """Return the lanes that wait, None for all, a part at a time."""
        size = self._lanes if waiting is None else waiting.size
        for start in range(0, size, _LANES_AT_ONCE):
            part = slice(start, min(start + _LANES_AT_ONCE, size))
            yield part if waiting is None else waiting[part]

    def _first_of_groups(self, due: Indices) -> Indices:
        """Return the first of each group; lanes of a group are in the order of time, as `due` is."""
        _, first = np.unique(self._group_of[due], return_index=True)
        return due[first]

    def _try(self, lanes: Lanes, period: Period) -> _Trial:
        """Return what lanes would play and learn, given what they know now."""
        self._refresh(lanes)
        regressions, arms = self._regressions, self._arms
        theta = regressions.theta[lanes]
        expected = theta @ arms.contexts.T
        if self._learner.offsets:
            counts = self._offset_counts[lanes]
            residuals = self._offset_costs[lanes] - counts * expected
            expected = expected + residuals / (self._learner.offset_pseudo_rows + counts)
        inverse = regressions.inverse[lanes].reshape(theta.shape[0], -1)
        width = np.sqrt(np.maximum(0.0, inverse @ arms.squares))
        score = expected - self._beta_s(lanes)[:, None] * width
        chosen, forced = self._choose(lanes, score)
        at = np.arange(chosen.size)
        total_s, costs = self._costs_of(lanes, chosen, theta, period)
        cheaper = ~period.censored[lanes][at, chosen] & (total_s < expected[at, chosen])
        step = regressions.step(lanes, arms.rows[chosen], costs)
        due = self._growth[lanes] + step.growth > np.log1p(self._learner.alpha)
        indices = np.arange(lanes.start, lanes.stop) if isinstance(lanes, slice) else lanes
        return _Trial(lanes, indices, chosen, costs, step, due, forced, cheaper)

    def _beta_s(self, lanes: Lanes) -> Vector:
        """As `FedLinUCBDW.beta_s`, shape (n,)."""
        learner, regressions = self._learner, self._regressions
        count = regressions.count[lanes]
        if learner.beta_s is not None:
            return np.full(count.shape, learner.beta_s)
        d = self._arms.contexts.shape[1]
        noise_s = np.sqrt(regressions.residual[lanes]) / np.sqrt(np.maximum(1.0, count - d))
        scale_s = np.sqrt(regressions.sum_squares[lanes] / np.maximum(1.0, count))
        beta_s: Vector = (
            learner.beta_noise * noise_s + learner.beta_prior * np.sqrt(learner.regularisation) * scale_s
        )
        return beta_s

    def _choose(self, lanes: Lanes, score: Matrix) -> tuple[ArmIndices, Mask]:
        """Return the arms of the lowest scores (n, K), and which were forced, as `FedLinUCBDW.select`."""
        arms = score.argmin(axis=1)
        if not self._learner.probes:
            return arms, np.zeros(arms.shape, dtype=np.bool_)
        forced = self._probes.due(lanes) & ~self._arms.offloads[arms] & self._arms.offloads.any()
        if forced.any():
            others = np.where(self._arms.offloads, score[forced], np.inf)
            arms[forced] = others.argmin(axis=1)
        return arms, forced

    def _costs_of(
        self, lanes: Lanes, arms: ArmIndices, theta: Matrix, period: Period
    ) -> tuple[Vector, Matrix]:
        """Return total seconds (n,), and those of the rows (n, 2) as `FedLinUCBDW` would have them."""
        at = np.arange(arms.size)
        total_s, device_s = period.costs[lanes][at, arms], period.device_costs[lanes][at, arms]
        two = self._arms.counts[arms] == 2.0
        costs = np.empty((arms.size, 2))
        costs[:, 0] = np.where(two, device_s, total_s)
        costs[:, 1] = np.where(two, np.maximum(0.0, total_s - device_s), 0.0)
        # A lower bound counts as no less than the prediction; it bounds the last row.
        for each in np.flatnonzero(period.censored[lanes][at, arms]):
            row = int(two[each])
            predicted_s = theta[each] @ self._arms.rows[arms[each], :, row]
            costs[each, row] = max(costs[each, row], predicted_s)
        return total_s, costs

    def _commit(self, trial: _Trial, uploaders: Indices, arms: ArmIndices) -> Indices:
        """Make true what no upload of this wave comes before; return the lanes that must play again."""
        first = np.full(self._seed_of_group.size, self._lanes)
        first[self._group_of[uploaders]] = uploaders
        played = trial.indices <= first[self._group_of[trial.indices]]
        all_played = bool(played.all())
        lanes = trial.lanes if all_played else trial.indices[played]
        chosen: Lanes = slice(None) if all_played else np.flatnonzero(played)
        played_arms, costs = trial.arms[chosen], trial.costs[chosen]
        arms[lanes] = played_arms
        indices = trial.indices[chosen]
        self._regressions.take(lanes, trial.step, chosen, costs, self._arms.counts[played_arms])
        self._plays[indices, played_arms] += 1
        self._moment[lanes] += np.einsum("nim,nm->ni", self._arms.rows[played_arms], costs)
        self._squares[lanes] += np.einsum("nm,nm->n", costs, costs)
        self._growth[lanes] += trial.step.growth[chosen]
        if self._learner.offsets:
            kept = self._learner.offset_forgetting
            counts, sums = self._offset_counts, self._offset_costs
            counts[indices, played_arms] = kept * counts[indices, played_arms] + 1.0
            sums[indices, played_arms] = kept * sums[indices, played_arms] + costs.sum(axis=1)
        offloads = self._arms.offloads[played_arms]
        self._probes.played(lanes, offloads, trial.forced[chosen], trial.cheaper[chosen])
        return trial.indices[~played]

    def _own(self, lanes: Lanes) -> tuple[Matrix, Matrix, Vector, Vector]:
        """Return gram, moment, sum of squares and count of the rows since the last upload."""
        d = self._arms.contexts.shape[1]
        plays = self._plays[lanes].astype(np.float64)
        gram = (plays @ self._arms.grams).reshape(-1, d, d)
        return gram, self._moment[lanes], self._squares[lanes], plays @ self._arms.counts

    def _upload(self, lanes: Indices) -> None:
        """Merge what lanes of different groups have learnt since their last upload, and tell the others."""
        groups = self._group_of[lanes]
        self._groups.add(groups, *self._own(lanes))
        self._plays[lanes], self._moment[lanes] = 0, 0.0
        self._squares[lanes], self._growth[lanes] = 0.0, 0.0
        self._count_messages(groups)
        if not self._to_all:
            self._known.copy_from(self._groups, lanes, groups)
            self._stale[lanes] = True
        elif self._learner.share != "device":  # a group of one is the device itself: it knew all that before
            concerned = np.zeros(self._seed_of_group.size, dtype=np.bool_)
            concerned[groups] = True
            self._stale |= concerned[self._group_of]

    def _count_messages(self, groups: Indices) -> None:
        """Count an upload to each of these groups, and how many hear of it."""
        if self._learner.share == "device":
            return
        seeds = self._seed_of_group[groups]
        np.add.at(self._uploads, seeds, 1)
        np.add.at(self._downloads, seeds, self._members[groups] if self._to_all else 1)

    def _refresh(self, lanes: Lanes) -> None:
        """Build anew the regressions whose known statistics have changed."""
        stale = self._stale[lanes]
        if not stale.any():
            return
        old = np.flatnonzero(stale) + lanes.start if isinstance(lanes, slice) else lanes[stale]
        gram, moment, squares, count = self._own(old)
        known, at = self._known, self._known_of[old]
        log_determinant = self._regressions.rebuild(
            old, known.gram[at] + gram, known.moment[at] + moment, known.sum_squares[at] + squares,
            known.count[at] + count,
        )  # fmt: skip
        self._growth[old] = log_determinant - known.log_determinant[at]
        self._stale[old] = False


def _groups(learner: spec.Family, sites: Sequence[Site]) -> tuple[Indices, Indices]:
    """Return the group of each lane, numbered through all seeds, and the seed's number of each group."""
    group_of: list[int] = []
    seed_of_group: list[int] = []
    for number, site in enumerate(sites):
        keys = groups_of(learner.share, site.world)
        numbers = {key: len(seed_of_group) + i for i, key in enumerate(dict.fromkeys(keys))}
        group_of += [numbers[keys[device]] for device in site.order]
        seed_of_group += [number] * len(numbers)
    return np.array(group_of), np.array(seed_of_group)
