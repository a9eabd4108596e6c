"""Who is there when: each device's type, its coming and going, and the moments of its frames. Pure."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
        burst_frames, burst_every_s: it rests after so many, until so long after the first of them.
    """

    kind: spec.DeviceType
    joins_s: float
    leaves_s: float
    period_s: float
    frames: int
    burst_frames: int = 1
    burst_every_s: float = 0.0

    def at_s(self, frame: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return seconds from its coming to each of its frames, by their numbers."""
        return played_s(frame, self.period_s, self.burst_frames, self.burst_every_s)


def played_s(
    frame: npt.NDArray[np.int64], period_s: float, burst_frames: int, burst_every_s: float
) -> npt.NDArray[np.float64]:
    """Return when frames are taken that come in bursts; without rests where bursts are one period long."""
    burst, within = np.divmod(frame, burst_frames)
    return burst * (burst_every_s or period_s) + within * period_s


def length_s(settings: spec.Site) -> float:
    """Return how long a site plays: to the end of the last frame's period."""
    if settings.burst_frames is None:
        return settings.frames / settings.fps
    last = np.array(settings.frames - 1)
    rests = played_s(last, 1.0 / settings.fps, settings.burst_frames, settings.burst_every_s)
    return float(rests) + 1.0 / settings.fps


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
    if settings.burst_frames is not None:
        return _in_bursts(settings, kind, place)
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


def _in_bursts(settings: spec.Site, kind: spec.DeviceType, place: int) -> Stay:
    burst, period_s = settings.burst_frames or 1, 1.0 / settings.fps
    if kind.fps is not None or kind.join_at_s is not None or kind.leave_after_frames is not None:
        raise ConfigurationError(
            f"world.types[{place}]: where frames come in bursts, fps, join_at_s and leave_after_frames are "
            "not known; join_after_frames is"
        )
    if settings.burst_every_s < burst * period_s:
        raise ConfigurationError(
            f"world.burst_every_s = {settings.burst_every_s:g} is too short for {burst} frames at "
            f"{settings.fps:g} a second"
        )
    missed = kind.join_after_frames or 0
    if missed % burst or missed >= settings.frames:
        raise ConfigurationError(
            f"world.types[{place}].join_after_frames = {missed} is no whole number of bursts of {burst} "
            f"frames before the end"
        )
    joins_s = missed // burst * settings.burst_every_s
    return Stay(kind, joins_s, math.inf, period_s, settings.frames - missed, burst, settings.burst_every_s)


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
    rests_s = np.concatenate([stay.at_s(np.arange(count)) for stay, count in zip(stays, counts, strict=True)])
    joins_s = np.array([stay.joins_s for stay in stays])
    at_s = joins_s[device] + rests_s + np.asarray(offsets_s)[device]
    for i in np.lexsort((rank[device], frame, at_s)):
        yield float(at_s[i]), int(device[i])
