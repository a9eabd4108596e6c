"""What profiles on the disk tell a device before its first frame: its own heads, and an edge worker's tails.

This file must never measure anything; what no profile tells is measured in `preparation.py`.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from bus.errors import ConfigurationError
from device.compute import Compute
from device.events import ExitRow
from device.plan import Plan
from device.policy_names import NEUROSURGEON
from device.settings import DeviceSettings
from partition.profiles.machine import this_machine
from partition.profiles.profile_file import load_profile

_log = structlog.get_logger("device")


@dataclass(frozen=True, slots=True)
class Known:
    """Empty where no profile tells.

    Attributes:
        front_s: seconds of head and encode of each arm, on this device.
        edge_s: seconds of decode and tail of each arm, on the edge worker.
        rows: as many rows of the device's own work as its warm start asks for.
    """

    front_s: tuple[float, ...] = ()
    edge_s: tuple[float, ...] = ()
    rows: tuple[ExitRow, ...] = ()


def read_known(settings: DeviceSettings, compute: Compute) -> Known:
    """Read the profiles that the settings name; blocks.

    A profile that is not to be trusted still serves the rivals, who have nothing better; it makes no warm
    start, which early exits can do here and now.

    Raises:
        ConfigurationError: a file that is no profile, or of another model, other codecs or another machine;
            times of this machine for a device that pretends to be slower; a policy that lacks its profile.
    """
    plan = compute.plan
    needs = NEUROSURGEON in (settings.policy, *settings.compare)
    if needs and (settings.profile is None or settings.edge_profile is None):
        raise ConfigurationError(
            f"the policy {NEUROSURGEON} predicts from profiles: give --profile and --edge-profile, made by "
            "cans profile here and on the edge worker's machine"
        )
    edge_s: tuple[float, ...] = ()
    if settings.edge_profile is not None:
        edge_s = _left(plan, load_profile(settings.edge_profile, plan.model, plan.schema, None).edge_s)
    if settings.profile is None:
        return Known(edge_s=edge_s)
    if compute.emulated:
        raise ConfigurationError(
            "--profile tells this machine's own times, which --emulate stretches: leave one of them out"
        )
    profile = load_profile(settings.profile, plan.model, plan.schema, this_machine())
    for warning in profile.warnings:
        _log.warning("profile_not_trusted", profile=str(settings.profile), reason=warning)
    rows = itertools.islice(profile.front_rows(), settings.warm_start if profile.trusted else 0)
    return Known(
        _left(plan, profile.front_s), edge_s, tuple(ExitRow(context, seconds) for context, seconds in rows)
    )


def _left(plan: Plan, seconds: Sequence[float]) -> tuple[float, ...]:
    """Return the times of the plan's arms, of a profile's, which are all that the model has."""
    return tuple(seconds[plan.number(arm)] for arm in range(len(plan.arms)))
