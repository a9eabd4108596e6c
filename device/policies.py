"""Policies by name: what `--policy` and `--compare` mean."""

from collections.abc import Sequence

from bandits.ans import ANS
from bandits.fedlinucb import FedLinUCBDW
from bandits.fixed import FixedArm
from bandits.linucb import LinUCB
from bandits.policy import Policy
from bandits.settings import Settings
from bandits.two_arm import TwoArmSwitch
from bus.errors import ConfigurationError
from device.plan import Plan

LEARNER = "fedlinucb_dw"
DEVICE_ONLY = "device_only"
EDGE_ONLY = {"edge_only_uint8": "uint8", "edge_only_jpeg": "jpeg", "edge_only_float32": "float32"}
NAMES = (LEARNER, DEVICE_ONLY, *EDGE_ONLY, "two_arm", "linucb", "ans")
# The switch offloads with the codec that sends least; a weaker one would flatter whatever it is compared to.
_SWITCH_CODECS = ("jpeg", "uint8", "float32")


def require_names(policy: str, compare: Sequence[str]) -> tuple[str, ...]:
    """Return the names of all policies that play, the main one first.

    Raises:
        ConfigurationError: unknown, twice, or a learner that would need a federation of its own.
    """
    names = (policy, *compare)
    for name in names:
        if name not in NAMES:
            raise ConfigurationError(f"there is no policy {name!r}: choose from {', '.join(NAMES)}")
    if len(set(names)) != len(names):
        raise ConfigurationError(f"each policy plays once: {', '.join(names)} names one of them twice")
    if LEARNER in compare:
        raise ConfigurationError(f"{LEARNER} shares what it learns, so it must be --policy, not --compare")
    return names


def build_policy(
    name: str, plan: Plan, learner: Settings, *, boot: int = 0, front_s: Sequence[float] = ()
) -> Policy:
    """Return one policy.

    Args:
        name: one of `NAMES`.
        plan: the arms it chooses from.
        learner: switches of the learners.
        boot: starts of this install so far.
        front_s: profiled seconds of head and encode of each arm; for `ans` only.

    Raises:
        ConfigurationError: the model has no arm that the policy plays.
    """
    try:
        return _build(name, plan, learner, boot, front_s)
    except ValueError as error:
        raise ConfigurationError(f"the policy {name} cannot be set so: {error}") from None


def _build(name: str, plan: Plan, learner: Settings, boot: int, front_s: Sequence[float]) -> Policy:
    if name == LEARNER:
        return FedLinUCBDW(plan.front, learner, boot=boot)
    if name == DEVICE_ONLY:
        return FixedArm(plan.device_arm, name)
    if name in EDGE_ONLY:
        return FixedArm(_input_arm(plan, name, (EDGE_ONLY[name],)), name)
    if name == "two_arm":
        return TwoArmSwitch(plan.device_arm, _input_arm(plan, name, _SWITCH_CODECS))
    if name == "linucb":
        beta_s = 0.3 if learner.beta_s is None else learner.beta_s
        return LinUCB(plan.dimension, regularisation=learner.regularisation, beta_s=beta_s)
    return ANS(front_s, [not front for front in plan.front], regularisation=learner.regularisation)


def _input_arm(plan: Plan, name: str, codecs: Sequence[str]) -> int:
    """Return the arm that sends the input with the first of `codecs` that there is."""
    for codec in codecs:
        for index, arm in enumerate(plan.arms):
            if (arm.cut, arm.codec) == (0, codec):
                return index
    raise ConfigurationError(
        f"the policy {name} sends the input as {' or '.join(codecs)}: add it to --codecs"
    )
