"""All devices of one policy, and who tells whom: from an entry of an experiment to something that plays.

A team owns no clock and no randomness but what it is given; what travels inside it is counted in `traffic`.
"""

import numpy as np

from bandits.ans import ANS
from bandits.detector_linucb import DetectorLinUCB
from bandits.discounted_linucb import DiscountedLinUCB
from bandits.epsilon_greedy import EpsilonGreedy
from bandits.fixed import FixedArm
from bandits.lin_ts import LinTS
from bandits.link_estimate import LinkSettings
from bandits.linucb import LinUCB
from bandits.neurosurgeon import Neurosurgeon
from bandits.player import PlayerSettings
from bandits.policy import Cost, Policy
from bandits.two_arm import TwoArmSwitch
from bandits.windowed_linucb import WindowedLinUCB
from bus.errors import ConfigurationError
from lab.simulator import spec
from lab.simulator.async_team import AsyncTeam
from lab.simulator.channel import require_instant
from lab.simulator.dis_team import DisTeam
from lab.simulator.federated_team import FederatedTeam
from lab.simulator.names import nearest
from lab.simulator.sharing import groups_of
from lab.simulator.sharing_engine import play_sharing
from lab.simulator.team import Alone, Team
from lab.simulator.traffic import Traffic
from lab.simulator.world import Matrix, Turn, World, stream

DEVICE_ARM = "end/none"
CHOICES, _PROFILES = 7, 8  # streams; those of worlds are smaller


class KeyFrames:
    """Tells ANS of key frames before it selects: a share of frames, drawn. Implements `Policy`."""

    def __init__(self, policy: ANS, share: float, random: np.random.Generator) -> None:
        self.name = policy.name
        self._policy = policy
        self._share = share
        self._random = random
        self.update, self.dump, self.load = policy.update, policy.dump, policy.load

    def select(self, contexts: Matrix) -> int:
        """As `Policy.select`."""
        self._policy.key_frame = bool(self._random.random() < self._share)
        return self._policy.select(contexts)


class Seer:
    """Knows the true means. Implements `Team`."""

    def __init__(self) -> None:
        self.traffic = Traffic()

    def select(self, turn: Turn) -> int:
        """As `Team.select`."""
        return int(turn.means.argmin())

    def update(self, turn: Turn, arm: int, cost: Cost) -> None:
        """Nothing to learn."""


class Anything:
    """Draws an arm. Implements `Team`."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self.traffic = Traffic()

    def select(self, turn: Turn) -> int:
        """As `Team.select`."""
        return int(self._random.integers(turn.means.shape[0]))

    def update(self, turn: Turn, arm: int, cost: Cost) -> None:
        """Nothing to learn."""


def team_of(learner: spec.Learner, world: World, seed: int) -> Team:  # noqa: C901, PLR0911, PLR0912 - a table
    """Return the team that an experiment's entry asks for.

    Raises:
        ConfigurationError: the world lacks an arm that the learner plays.
    """
    devices = len(world.types)
    match learner:
        case spec.Family():
            return FederatedTeam(learner, world, seed)
        case spec.Async():
            require_instant(world.channel, "async_linucb")
            return AsyncTeam(learner, world)
        case spec.DisLinUCB():
            require_instant(world.channel, "dis_linucb")
            return DisTeam(learner, world)
        case spec.Central() | spec.Discounted() | spec.Windowed() | spec.Detector():
            require_instant(world.channel, "a learner that all devices of a group share")
            return Alone(_one_for_each_group(learner, world))
        case spec.Fixed():
            return Alone([FixedArm(arm_named(world, learner.arm), learner.arm)] * devices)
        case spec.TwoArm():
            return Alone([_two_arm(learner, world) for _ in range(devices)])
        case spec.Ans():
            return Alone([_ans(learner, world, device, seed) for device in range(devices)])
        case spec.Neurosurgeon():
            return Alone([_neurosurgeon(learner, world, device, seed) for device in range(devices)])
        case spec.LinTs():
            return Alone([_lin_ts(learner, world, stream(seed, d, CHOICES)) for d in range(devices)])
        case spec.EpsilonGreedy():
            return Alone([_epsilon_greedy(learner, world, stream(seed, d, CHOICES)) for d in range(devices)])
        case spec.Oracle():
            return Seer()
        case spec.BestFixed():
            return Alone([FixedArm(arm, "best_fixed") for arm in _best_arms(world)])
        case spec.Random():
            return Anything(stream(seed, 0, CHOICES))


_Shared = spec.Central | spec.Discounted | spec.Windowed | spec.Detector


def _one_for_each_group(learner: _Shared, world: World) -> list[Policy]:
    groups = groups_of(learner.share, world)
    policies = {group: _shared(learner, world) for group in groups}
    return [policies[group] for group in groups]


def _shared(learner: _Shared, world: World) -> Policy:
    columns = world.device_columns
    match learner:
        case spec.Central():
            return LinUCB(columns.shape[0], regularisation=learner.regularisation, beta_s=learner.beta_s)
        case spec.Discounted():
            return DiscountedLinUCB(columns, _player(learner), gamma=learner.gamma)
        case spec.Windowed():
            return WindowedLinUCB(columns, _player(learner), window_frames=learner.window_frames)
        case spec.Detector():
            return DetectorLinUCB(
                columns,
                _player(learner),
                slack=learner.slack,
                threshold=learner.threshold,
                clip=learner.clip,
                keep_frames=learner.keep_frames,
                warm_up_frames=learner.warm_up_frames,
            )


def _player(learner: spec.Forgetting) -> PlayerSettings:
    return PlayerSettings(
        regularisation=learner.regularisation,
        beta_s=learner.beta_s,
        beta_noise=learner.beta_noise,
        beta_prior=learner.beta_prior,
        feedback=learner.feedback,
        probe_after_frames=learner.probe_after_frames if learner.probes else None,
        probe_largest_gap_frames=max(learner.probe_largest_gap_frames, learner.probe_after_frames),
    )


def _two_arm(learner: spec.TwoArm, world: World) -> Policy:
    if learner.edge_arm == DEVICE_ARM:
        raise ConfigurationError(
            f"edge_arm is {DEVICE_ARM!r}, which sends nothing: choose one such as 0/jpeg"
        )
    return TwoArmSwitch(
        arm_named(world, DEVICE_ARM),
        arm_named(world, learner.edge_arm),
        opening_frames=learner.opening_frames,
        probe_every_frames=learner.probe_every_frames,
        smoothing=learner.smoothing,
    )


def _ans(learner: spec.Ans, world: World, device: int, seed: int) -> Policy:
    policy = ANS(
        world.device_means(device),
        ~world.device_columns,
        a_s=learner.a_s,
        regularisation=learner.regularisation,
    )
    return KeyFrames(policy, learner.key_frames, stream(seed, device, CHOICES))


def _neurosurgeon(learner: spec.Neurosurgeon, world: World, device: int, seed: int) -> Policy:
    """Regress noisy offline runs of device and edge, each on its own columns."""
    random = stream(seed, device, _PROFILES)
    X = next(world.turns()).contexts  # noqa: N806 - as in the literature
    if world.link_column is None:
        raise ConfigurationError("neurosurgeon needs a link, such as those of a site")
    device_X = X[:, world.device_columns]  # noqa: N806
    edge_X = np.delete(X, world.link_column, axis=1)[:, ~np.delete(world.device_columns, world.link_column)]  # noqa: N806
    parts_s = []
    for columns, means in ((device_X, world.device_means(device)), (edge_X, world.edge_means())):
        rows = np.tile(columns, (learner.profiled, 1))
        runs = np.tile(means, learner.profiled) * np.exp(0.05 * random.standard_normal(rows.shape[0]))
        parts_s.append(columns @ np.linalg.lstsq(rows, runs)[0])
    link = LinkSettings(
        drift_unit=learner.drift_unit,
        drift_round_trip=learner.drift_round_trip,
        noise=learner.link_noise,
        memory_frames=learner.link_memory_frames,
    )
    return Neurosurgeon(
        parts_s[0] + parts_s[1],
        X.shape[1],
        world.link_column,
        front_s=parts_s[0],
        link=link,
        probe_after_frames=learner.probe_after_frames,
        probe_largest_gap_frames=max(learner.probe_largest_gap_frames, learner.probe_after_frames),
        link_checks=learner.link_checks,
    )


def _lin_ts(learner: spec.LinTs, world: World, random: np.random.Generator) -> Policy:
    return LinTS(
        world.device_columns.shape[0],
        random,
        regularisation=learner.regularisation,
        spread_s=learner.spread_s,
    )


def _epsilon_greedy(learner: spec.EpsilonGreedy, world: World, random: np.random.Generator) -> Policy:
    if not world.arms:
        raise ConfigurationError("epsilon_greedy needs arms that stay the same, such as those of a site")
    return EpsilonGreedy(
        len(world.arms),
        random,
        epsilon=learner.epsilon,
        opening_frames=learner.opening_frames,
        smoothing=learner.smoothing,
    )


def arm_named(world: World, label: str) -> int:
    """Return the index of an arm.

    Raises:
        ConfigurationError: the world has none of that label.
    """
    if label not in world.arms:
        raise ConfigurationError(f"there is no arm {label!r} in this world{nearest(label, world.arms)}")
    return world.arms.index(label)


def _best_arms(world: World) -> list[int]:
    """Return each device's arm of the smallest mean over all its turns; where they share, one for all."""
    if not world.arms:
        raise ConfigurationError("best_fixed needs arms that stay the same, such as those of a site")
    devices = len(world.types)
    if world.shared is not None:
        # What an arm costs depends on what all others play.
        costs = [play_sharing(world, _all_play(arm, devices)).cost.mean() for arm in range(len(world.arms))]
        return [int(np.argmin(costs))] * devices
    sums = np.zeros((devices, len(world.arms)))
    for turn in world.turns():
        sums[turn.device] += turn.means
    return [int(arm) for arm in sums.argmin(axis=1)]


def _all_play(arm: int, devices: int) -> Team:
    return Alone([FixedArm(arm, "fixed")] * devices)
