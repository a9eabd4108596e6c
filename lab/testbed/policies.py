"""A policy of an experiment file, on a real device: the same settings that the simulator's teams play."""

import numpy as np

from bandits.ans import ANS
from bandits.epsilon_greedy import EpsilonGreedy
from bandits.fedlinucb import FedLinUCBDW
from bandits.fixed import FixedArm
from bandits.lin_ts import LinTS
from bandits.link_estimate import LinkSettings
from bandits.neurosurgeon import Neurosurgeon
from bandits.policy import Policy
from bandits.two_arm import TwoArmSwitch
from bus.errors import ConfigurationError
from device.known import Known
from device.plan import Plan
from lab.simulator import spec
from lab.simulator.federated_team import settings_of
from lab.simulator.names import nearest

PLAYED = (spec.Family, spec.Fixed, spec.TwoArm, spec.Ans, spec.Neurosurgeon, spec.LinTs, spec.EpsilonGreedy)


def policy_of(  # noqa: PLR0911 - a table
    name: str, learner: spec.Learner, plan: Plan, known: Known, *, boot: int, seed: int
) -> Policy:
    """Return the policy of one device.

    Args:
        name: how results call it.
        learner: what it is.
        plan: the device's arms.
        known: times from profiles, for those that are given them.
        boot: of the device.
        seed: of what it draws.

    Raises:
        ConfigurationError: no arm of that label, or a learner that no device can be.
    """
    match learner:
        case spec.Family():
            settings = settings_of(learner)
            return FedLinUCBDW(plan.front, settings, link_column=plan.link, boot=boot, name=name)
        case spec.Fixed():
            return FixedArm(_arm(plan, learner.arm), name)
        case spec.TwoArm():
            return TwoArmSwitch(
                plan.device_arm,
                _arm(plan, learner.edge_arm),
                name=name,
                opening_frames=learner.opening_frames,
                probe_every_frames=learner.probe_every_frames,
                smoothing=learner.smoothing,
            )
        case spec.Ans():
            edge_columns = [not front for front in plan.front]
            return ANS(
                known.front_s,
                edge_columns,
                a_s=learner.a_s,
                regularisation=learner.regularisation,
                name=name,
            )
        case spec.Neurosurgeon():
            return _neurosurgeon(name, learner, plan, known)
        case spec.LinTs():
            return LinTS(
                plan.dimension,
                np.random.default_rng(seed),
                regularisation=learner.regularisation,
                spread_s=learner.spread_s,
                name=name,
            )
        case spec.EpsilonGreedy():
            return EpsilonGreedy(
                len(plan.arms),
                np.random.default_rng(seed),
                epsilon=learner.epsilon,
                opening_frames=learner.opening_frames,
                smoothing=learner.smoothing,
                name=name,
            )
    kind = type(learner).__struct_config__.tag
    raise ConfigurationError(f"{name}: a device cannot be {kind!r}: that one lives in the simulator alone")


def _neurosurgeon(name: str, learner: spec.Neurosurgeon, plan: Plan, known: Known) -> Policy:
    """Give it what was profiled, arm by arm; the simulator's regresses noisy runs instead."""
    if plan.link is None:
        raise ConfigurationError(f"{name}: no context column says what an arm sends")
    if not known.edge_s:
        raise ConfigurationError(
            f"{name} predicts from profiles: start the device with --edge-profile, a file that cans profile "
            "has made on the edge worker's machine"
        )
    return Neurosurgeon(
        [on_device + on_edge for on_device, on_edge in zip(known.front_s, known.edge_s, strict=True)],
        plan.dimension,
        plan.link,
        front_s=known.front_s,
        link=LinkSettings(
            drift_unit=learner.drift_unit,
            drift_round_trip=learner.drift_round_trip,
            noise=learner.link_noise,
            memory_frames=learner.link_memory_frames,
        ),
        probe_after_frames=learner.probe_after_frames,
        probe_largest_gap_frames=max(learner.probe_largest_gap_frames, learner.probe_after_frames),
        link_checks=learner.link_checks,
        name=name,
    )


def _arm(plan: Plan, label: str) -> int:
    labels = [plan.label(index) for index in range(len(plan.arms))]
    if label in labels:
        return labels.index(label)
    if label in plan.banned:
        raise ConfigurationError(f"the arm {label} is banned: {plan.banned[label]}")
    raise ConfigurationError(f"there is no arm {label!r} to be played{nearest(label, labels)}")
