"""What each policy costs a device for each frame, on a real network's arms; and ours with its session."""

import statistics
from collections.abc import Iterator
from time import perf_counter

import msgspec
import numpy as np

from lab.bench.played_device import PlayedDevice
from lab.bench.rows import Row
from lab.simulator import spec
from lab.simulator.jobs import make_world
from lab.simulator.spec.presets import PRESETS, TUNED
from lab.simulator.teams import team_of

LIMIT_US = 300.0
_POLICIES = (
    "default", "linucb", "fedlinucb_dw", "neurosurgeon", "ans", "two_arm", "lin_ts", "epsilon_greedy",
    "discounted", "windowed", "detector", "device_only",
)  # fmt: skip
_WARM = 100
_SITE = spec.Site(
    fps=2.0, types=(spec.DeviceType(name="phone", slowness=4.0, link=spec.Lte(outages_per_hour=0.0)),)
)


def run(*, quick: bool) -> Iterator[Row]:
    """Measure each policy on the same frames, and all that a device decides for a frame."""
    frames = _WARM + (100 if quick else 2000)
    for name in _POLICIES:
        times_us = _policy_us(name, frames)
        yield Row(f"select + update, {name}: p50", statistics.median(times_us), "us")
    times_us = _session_us(frames)
    yield Row("frame of default with its session: p50", statistics.median(times_us), "us")
    yield Row("frame of default with its session: p95", float(np.percentile(times_us, 95)), "us", LIMIT_US)


def _policy_us(name: str, frames: int) -> list[float]:
    """Return the microseconds that a policy took for each frame after the first."""
    world = make_world(msgspec.structs.replace(_SITE, frames=frames), 0)
    settings = {"learner": name} | TUNED.get(name, {}) | PRESETS.get(name, {})
    team = team_of(msgspec.convert(settings, spec.Learner), world, 0)
    times_us = []
    for turn in world.turns():
        before = perf_counter()
        arm = team.select(turn)
        cost = turn.cost_of(arm)
        team.update(turn, arm, cost)
        times_us.append(1e6 * (perf_counter() - before))
    return times_us[_WARM:]


def _session_us(frames: int) -> list[float]:
    """Return the microseconds that session and learner took for each frame after the first."""
    device, times_us = PlayedDevice(), []
    site = msgspec.structs.replace(_SITE, frames=frames)
    for turn in make_world(site, 0).turns():
        before_s = device.spent_s
        device.play(turn)
        times_us.append(1e6 * (device.spent_s - before_s))
    return times_us[_WARM:]
