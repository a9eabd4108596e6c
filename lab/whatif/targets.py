"""Which arm a policy would have played at each recorded frame."""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from bandits.policy import Cost, Policy
from bandits.settings import Settings
from bus.errors import ConfigurationError
from device.plan import Plan, PlanArm
from device.policies import build_policy, require_names
from device.policy_names import ANS, DEVICE_ONLY, EDGE_ONLY, FIXED, LEARNER, LINUCB, NEUROSURGEON, TWO_ARM
from lab.network_table import NetworkTable
from lab.whatif.logged import ALONE, Floats, Log

LEARNING = (LEARNER, LINUCB, ANS, NEUROSURGEON, TWO_ARM)
"""Policies whose choice depends on what frames have cost; they choose among the arms that were recorded, and
need a profile, to know what those are."""


def chosen_by(
    name: str, log: Log, predicted: Floats, table: NetworkTable | None, learner: Settings
) -> npt.NDArray[np.int64]:
    """Return the arm of each frame, (T,); -1 for one that was never played.

    Args:
        name: as `cans device --policy` takes it.
        log: T frames of one device.
        predicted: as `lab.whatif.model` has it, (T, K).
        table: the network's arms and their times on that device and edge worker; None where nobody has
            profiled it.
        learner: switches of the learners.

    Raises:
        ConfigurationError: no such policy, or one that needs a profile.
    """
    require_names(name, ())
    if name not in LEARNING:
        label = (
            ALONE
            if name == DEVICE_ONLY
            else f"0/{EDGE_ONLY[name]}"
            if name in EDGE_ONLY
            else name.removeprefix(FIXED)
        )
        number = log.index(label)
        return np.full(len(log), -1 if number is None else number)
    if table is None:
        raise ConfigurationError(
            f"{name} chooses by what the arms are: give --profile, which cans profile has made on that device"
        )
    table = _recorded(table, log)
    numbers = [log.index(label) for label in table.arms]
    policy = build_policy(
        name, _plan(table), learner, front_s=_seconds(table.head_ms, table.encode_ms),
        edge_s=_seconds(table.edge_ms),
    )  # fmt: skip
    return np.array([_play(policy, table, log, predicted[t], t, numbers) for t in range(len(log))], np.int64)


def _play(
    policy: Policy, table: NetworkTable, log: Log, predicted: Floats, t: int, numbers: Sequence[int | None]
) -> int:
    """Let it choose for a frame, and learn its cost: as measured if that was played, else by the model."""
    arm = policy.select(table.matrix())
    number = numbers[arm]
    if number is None:
        return -1
    alone = table.payload_bytes[arm] == 0.0
    if number == log.arm[t]:
        total_ms, device_ms, link_ms = log.cost_ms[t], log.device_ms[t], log.link_ms[t]
        censored = not alone and not log.answered[t]
    elif np.isfinite(predicted[number]):
        played = log.arm == number
        total_ms, device_ms = predicted[number], min(predicted[number], log.device_ms[played].mean())
        edge_ms = log.edge_ms[played & log.answered]
        link_ms = max(0.0, total_ms - device_ms - (edge_ms.mean() if len(edge_ms) else 0.0))
        censored = False
    else:
        return number
    link_s = None if alone else link_ms / 1e3
    policy.update(arm, Cost(total_ms / 1e3, min(total_ms, device_ms) / 1e3, link_s, censored=censored))
    return number


def _recorded(table: NetworkTable, log: Log) -> NetworkTable:
    """Return the table of the arms that were played, and of the one that sends nothing."""
    kept = [at for at, label in enumerate(table.arms) if label == ALONE or log.index(label) is not None]
    per_arm = ("arms", "contexts", "head_ms", "encode_ms", "payload_bytes", "edge_ms")
    left = {name: tuple(getattr(table, name)[at] for at in kept) for name in per_arm}
    return msgspec.structs.replace(table, **left)


def _plan(table: NetworkTable) -> Plan:
    """Return the plan of a device of which no more is known than its table."""
    return Plan(
        model="0" * 16,
        schema="0" * 16,
        arms=tuple(_arm(label, place) for place, label in enumerate(table.arms)),
        contexts=table.matrix(),
        front=table.front,
        device_arm=table.arms.index(ALONE),
        link=table.columns.index("link.bits"),
    )


def _arm(label: str, place: int) -> PlanArm:
    cut, _, codec = label.partition("/")
    return PlanArm(int(cut) if cut.isdigit() else place, codec)


def _seconds(*times_ms: Sequence[float]) -> list[float]:
    return [sum(each) / 1e3 for each in zip(*times_ms, strict=True)]
