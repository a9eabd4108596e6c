"""From a profile of the device to what pruning starts from.

Beside `arm_costs.py` rather than in it, which is read without torch.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from partition.arms import NO_CODEC, Arm
from partition.pruning.arm_costs import ArmCosts


class Timed(Protocol):
    """What knows how long both parts of an arm take one machine, as a profile does."""

    def device_ms(self, arm: Arm) -> float:
        """Return the device's part."""
        ...

    def edge_ms(self, arm: Arm) -> float:
        """Return the edge's part."""
        ...


def costs_of_profile(arms: Sequence[Arm], profile: Timed, payload_bytes: Sequence[float]) -> ArmCosts:
    """Return costs from a profile of the device.

    Args:
        arms: as in the profile.
        profile: made on the device, or stretched as the device is.
        payload_bytes: per arm, mean over images of the kind that will be sent.
    """
    offload = np.array([arm.codec != NO_CODEC for arm in arms], dtype=bool)
    edge_ms = np.array([profile.edge_ms(arm) for arm in arms])
    return ArmCosts(
        labels=tuple(arm.label for arm in arms),
        front_s=np.array([profile.device_ms(arm) for arm in arms]) / 1e3,
        payload_bytes=np.array(payload_bytes, dtype=float),
        edge_s=np.where(offload, edge_ms, 0.0) / 1e3,
        offload=offload,
    )
