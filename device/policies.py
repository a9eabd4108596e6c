"""Policies by name: what `--policy` and `--compare` mean.

A policy is anything with what `bandits.policy.Policy` asks for:

    name                 the name it is built by; tables, feedback and the saved state call it so
    select(contexts)     the arm to play, an index into the rows of contexts (K, d); must not block
    update(arm, cost)    learn what that arm cost with the contexts of the latest `select`; comes for each
                         frame that was answered, perhaps with another arm than the one selected: a device
                         without an edge worker plays the device-only arm instead
    dump(), load(state)  the whole state as primitives, lists, maps and float64 arrays, to the bit; `load`
                         raises ValueError, KeyError or TypeError for what an equally set one did not dump

and, only if it wants to be told before each `select`, a `key_frame: bool` (`key_frames.py`).
To add one: its name in `policy_names.py`, its builder in `BUILDERS`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bandits.ans import ANS
from bandits.fedlinucb import FedLinUCBDW
from bandits.fixed import FixedArm
from bandits.linucb import LinUCB
from bandits.neurosurgeon import Neurosurgeon
from bandits.policy import Policy
from bandits.settings import Settings
from bandits.two_arm import TwoArmSwitch
from bus.errors import ConfigurationError
from device import policy_names as names
from device.plan import Plan, PlanArm

# The switch offloads with the codec that sends least; a weaker one would flatter whatever it is compared to.
_SWITCH_CODECS = ("jpeg", "uint8", "float32")


@dataclass(frozen=True, slots=True)
class Given:
    """What a policy is built of.

    Attributes:
        name: the one it was asked for by.
        plan: the arms it chooses from.
        learner: switches of the learners.
        boot: starts of this install so far.
        front_s: profiled seconds of head and encode of each arm; for `ans` and `neurosurgeon`.
        edge_s: profiled seconds of decode and tail of each arm, on the edge worker; for `neurosurgeon`.
    """

    name: str
    plan: Plan
    learner: Settings
    boot: int
    front_s: Sequence[float]
    edge_s: Sequence[float]


Builder = Callable[[Given], Policy]


def require_names(policy: str, compare: Sequence[str]) -> tuple[str, ...]:
    """Return the names of all policies that play, the main one first.

    Raises:
        ConfigurationError: unknown, twice, or a learner that would need a federation of its own.
    """
    playing = (policy, *compare)
    for name in playing:
        if _builder(name) is None:
            known = (*BUILDERS, f"{names.FIXED}ARM")
            raise ConfigurationError(f"there is no policy {name!r}: choose from {', '.join(known)}")
    if len(set(playing)) != len(playing):
        raise ConfigurationError(f"each policy plays once: {', '.join(playing)} names one of them twice")
    if names.LEARNER in compare:
        raise ConfigurationError(
            f"{names.LEARNER} shares what it learns, so it must be --policy, not --compare"
        )
    return playing


def build_policy(
    name: str,
    plan: Plan,
    learner: Settings,
    *,
    boot: int = 0,
    front_s: Sequence[float] = (),
    edge_s: Sequence[float] = (),
) -> Policy:
    """Return one policy. The arguments are those of `Given`.

    Raises:
        ConfigurationError: the model has no arm that the policy plays, or a switch is out of range.
        KeyError: nothing is called so; `require_names` comes first.
    """
    builder = _builder(name)
    if builder is None:
        raise KeyError(name)
    try:
        return builder(Given(name, plan, learner, boot, front_s, edge_s))
    except ValueError as error:
        raise ConfigurationError(f"the policy {name} cannot be set so: {error}") from None


def _builder(name: str) -> Builder | None:
    return BUILDERS.get(name) or (_fixed if name.startswith(names.FIXED) else None)


def _fixed(given: Given) -> Policy:
    label = given.name.removeprefix(names.FIXED)
    labels = [given.plan.label(index) for index in range(len(given.plan.arms))]
    if label in labels:
        return FixedArm(labels.index(label), given.name)
    if label in given.plan.banned:
        raise ConfigurationError(f"the arm {label} is banned: {given.plan.banned[label]}")
    raise ConfigurationError(f"there is no arm {label!r} to be played: choose from {', '.join(labels)}")


def _learner(given: Given) -> Policy:
    return FedLinUCBDW(
        given.plan.front,
        given.learner,
        link_column=given.plan.link,
        boot=given.boot,
        name=given.name,
    )


def _device_only(given: Given) -> Policy:
    return FixedArm(given.plan.device_arm, given.name)


def _edge_only(given: Given) -> Policy:
    return FixedArm(_input_arm(given, (names.EDGE_ONLY[given.name],)), given.name)


def _two_arm(given: Given) -> Policy:
    return TwoArmSwitch(given.plan.device_arm, _input_arm(given, _SWITCH_CODECS), name=given.name)


def _linucb(given: Given) -> Policy:
    learner = given.learner
    beta_s = 0.3 if learner.beta_s is None else learner.beta_s
    return LinUCB(given.plan.dimension, regularisation=learner.regularisation, beta_s=beta_s, name=given.name)


def _ans(given: Given) -> Policy:
    edge_columns = [not front for front in given.plan.front]
    return ANS(given.front_s, edge_columns, regularisation=given.learner.regularisation, name=given.name)


def _neurosurgeon(given: Given) -> Policy:
    if given.plan.link is None:
        raise ValueError("no context column says what an arm sends")
    if len(given.front_s) != len(given.edge_s):
        raise ValueError("it needs the times of both device and edge worker")
    compute_s = [on_device + on_edge for on_device, on_edge in zip(given.front_s, given.edge_s, strict=True)]
    return Neurosurgeon(
        compute_s,
        given.plan.dimension,
        given.plan.link,
        front_s=given.front_s,
        link_checks=given.learner.link_checks,
        name=given.name,
    )


def _input_arm(given: Given, codecs: Sequence[str]) -> int:
    """Return the arm that sends the input with the first of `codecs` that there is."""
    for codec in codecs:
        for index, arm in enumerate(given.plan.arms):
            if (arm.cut, arm.codec) == (0, codec):
                return index
    wanted = f"the policy {given.name} sends the input as {' or '.join(codecs)}"
    banned = [
        f"{label}: {given.plan.banned[label]}"
        for label in (PlanArm(0, codec).label for codec in codecs)
        if label in given.plan.banned
    ]
    if banned:
        raise ConfigurationError(
            f"{wanted}, which is banned ({'; '.join(banned)}): choose another policy, or lift the ban"
        )
    raise ConfigurationError(f"{wanted}: add it to --codecs")


BUILDERS: dict[str, Builder] = {
    names.LEARNER: _learner,
    names.DEVICE_ONLY: _device_only,
    **dict.fromkeys(names.EDGE_ONLY, _edge_only),
    names.TWO_ARM: _two_arm,
    names.LINUCB: _linucb,
    names.ANS: _ans,
    names.NEUROSURGEON: _neurosurgeon,
}
assert tuple(BUILDERS) == names.NAMES, "policy_names.py and BUILDERS must name the same, in one order"
