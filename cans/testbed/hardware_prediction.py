"""How slow real devices are beside this machine, for the simulator: from the profiles that they have sent."""

import json
import statistics
from collections.abc import Mapping
from typing import Any

import msgspec

from bus.errors import ConfigurationError
from lab.testbed.orders import Present
from lab.testbed.plan import Plan
from partition.profiles.profile_file import Profile, decode_profile


def slowness_of(plan: Plan, present: Mapping[str, Present], profile: Profile) -> str | None:
    """Return the override of the experiment that says it, or None where a device has sent no profile.

    The simulator's devices of a type are alike and differ from the measuring machine by one factor: the
    median, over the type's devices and the arms that compute anything there, of how much longer it takes.

    Args:
        plan: with its devices.
        present: what they have sent.
        profile: of this machine.

    Raises:
        ConfigurationError: what a device has sent is no profile.
    """
    slower: dict[str, list[float]] = {}
    for device in plan.devices:
        said = present[device.name]
        if not said.profile:
            return None
        try:
            theirs = decode_profile(said.profile.encode())
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(f"the device {device.name} has sent no profile: {error}") from None
        pairs = zip(theirs.front_s, profile.front_s, strict=False)
        slower.setdefault(device.kind.name, []).extend(its / ours for its, ours in pairs if ours > 0.0)
    types = [
        msgspec.to_builtins(
            msgspec.structs.replace(kind, slowness=statistics.median(slower[kind.name]), whole_ms=None)
        )
        for kind in plan.world.types
    ]
    return f"world.types={_toml(types)}"


def _toml(value: Any) -> str:  # noqa: ANN401 - whatever an experiment's section holds
    """Return a value as TOML writes it within a line; what is not set is left out."""
    if isinstance(value, Mapping):
        pairs = (f"{key} = {_toml(each)}" for key, each in value.items() if each is not None)
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)
