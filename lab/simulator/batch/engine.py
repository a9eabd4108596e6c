"""One policy in the sites of several seeds, all at once."""

from collections.abc import Sequence

import numpy as np

from bus.errors import ConfigurationError
from lab.simulator import spec
from lab.simulator.batch.crowds import Crowd, Draws, Habits, Seers, best_arms
from lab.simulator.batch.family import FamilyCrowd
from lab.simulator.batch.periods import Period, Site
from lab.simulator.runs import Run
from lab.simulator.teams import CHOICES, arm_named
from lab.simulator.world import stream


def play_many(learner: spec.Learner, world: spec.Site, seeds: Sequence[int]) -> list[Run]:
    """Play all turns of a world under several seeds, as `engine.play` does one.

    The policy and the world must be within `scope.why_plain`.

    Raises:
        ConfigurationError: it names something that is not there.
    """
    sites = [Site(world, seed) for seed in seeds]
    crowd = crowd_of(learner, sites, seeds)
    devices = sites[0].order.size
    shape = (len(seeds), world.frames, devices)
    at_s, cost, regret = np.empty(shape), np.empty(shape), np.empty(shape)
    arm = np.empty(shape, dtype=np.int32)
    lanes = np.arange(len(seeds) * devices)
    for frame, periods in enumerate(zip(*(one.periods() for one in sites), strict=True)):
        period = _together(periods)
        arms = crowd.play(period)
        at_s[:, frame] = period.at_s.reshape(-1, devices)
        arm[:, frame] = arms.reshape(-1, devices)
        cost[:, frame] = period.costs[lanes, arms].reshape(-1, devices)
        regret[:, frame] = (period.means[lanes, arms] - period.means.min(axis=1)).reshape(-1, devices)
    return [
        Run(
            at_s[i].ravel(), np.tile(one.order, world.frames), arm[i].ravel(), cost[i].ravel(),
            regret[i].ravel(), traffic.messages, traffic.bytes,
        )
        for i, (one, traffic) in enumerate(zip(sites, crowd.traffic, strict=True))
    ]  # fmt: skip


def crowd_of(learner: spec.Learner, sites: Sequence[Site], seeds: Sequence[int]) -> Crowd:
    """Return all lanes of a policy.

    Raises:
        ConfigurationError: the world lacks an arm that the policy plays, or it has no batched form.
    """
    lanes = len(sites) * sites[0].order.size
    match learner:
        case spec.Family():
            return FamilyCrowd(learner, sites)
        case spec.Fixed():
            return Habits(np.full(lanes, arm_named(sites[0].world, learner.arm)), len(seeds))
        case spec.BestFixed():
            return Habits(best_arms(sites), len(seeds))
        case spec.Oracle():
            return Seers(len(seeds))
        case spec.Random():
            return Draws([stream(seed, 0, CHOICES) for seed in seeds])
        case _:
            raise ConfigurationError(f"{learner.__struct_config__.tag} has no batched form")


def _together(periods: Sequence[Period]) -> Period:
    """Return one period of all seeds, each seed's devices after another's."""
    if len(periods) == 1:
        return periods[0]
    names = ("at_s", "means", "costs", "device_costs", "censored")
    return Period(*(np.concatenate([getattr(period, name) for period in periods]) for name in names))
