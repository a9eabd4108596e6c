"""Who is there when: each device's type, its coming and going, and the moments of its frames. Pure."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bus.errors import ConfigurationError
from lab.simulator import spec


@dataclass(frozen=True, slots=True)
class Stay:
    """One device.

    Attributes:
        kind: what it is.
        joins_s, leaves_s: when it appears, and when it has played its last frame; infinite if it stays.
        period_s: between its frames.
        frames: that it plays.
    """

    kind: spec.DeviceType
    joins_s: float
    leaves_s: float
    period_s: float
    frames: int


def stays_of(settings: spec.Site) -> list[Stay]:
    """Return every device of a site, type by type.

    Raises:
        ConfigurationError: a type that would appear when everything is over.
    """
    return [
        stay
        for i, kind in enumerate(settings.types)
        for stay in [_stay(settings, kind, i)] * (settings.devices_each or kind.devices)
    ]


def _stay(settings: spec.Site, kind: spec.DeviceType, place: int) -> Stay:
    ends_s = settings.frames / settings.fps
    joins_s = (kind.join_after_frames or 0) / settings.fps if kind.join_at_s is None else kind.join_at_s
    period_s = 1.0 / (kind.fps or settings.fps)
    # Times are quotients: a frame that just fits must not fall to a rounding error.
    frames = math.floor((ends_s - joins_s) / period_s + 1e-6)
    if frames < 1:
        raise ConfigurationError(
            f"world.types[{place}] plays no frame: {kind.name!r} appears at {joins_s:g} s, and all ends at "
            f"{ends_s:g} s: give world.frames more"
        )
    leaves_s = math.inf
    if kind.leave_after_frames is not None and kind.leave_after_frames < frames:
        frames = kind.leave_after_frames
        leaves_s = joins_s + frames * period_s
    return Stay(kind, joins_s, leaves_s, period_s, frames)


def frames_of(stays: Sequence[Stay], offsets_s: Sequence[float]) -> Iterator[tuple[float, int]]:
    """Yield (seconds, device) of every frame, in the order of time.

    Args:
        stays: the devices.
        offsets_s: for each, from its coming to its first frame; less than its period.
    """
    rank = np.argsort(np.argsort(offsets_s, kind="stable"))
    counts = np.array([stay.frames for stay in stays])
    device = np.repeat(np.arange(len(stays)), counts)
    frame = np.concatenate([np.arange(count) for count in counts])
    period_s = np.array([stay.period_s for stay in stays])
    joins_s = np.array([stay.joins_s for stay in stays])
    at_s = joins_s[device] + frame * period_s[device] + np.asarray(offsets_s)[device]
    for i in np.lexsort((rank[device], frame, at_s)):
        yield float(at_s[i]), int(device[i])
