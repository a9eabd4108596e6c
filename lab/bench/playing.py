"""What each policy costs a device for each frame, on a real network's arms; and ours with its session."""

import statistics
from collections.abc import Iterator
from time import perf_counter

import msgspec
import numpy as np

from device.policy_names import FIXED, LEARNER
from lab.bench.played_device import PlayedDevice
from lab.bench.rows import Row
from lab.simulator import spec
from lab.simulator.jobs import make_world
from lab.simulator.spec.presets import PRESETS, TUNED
from lab.simulator.teams import team_of

LIMIT_US = 300.0
LIMIT_SHARE = 1.0
_ARM = "0/jpeg"
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
    fixed_us = _session_us(frames, f"{FIXED}{_ARM}")
    more_us = statistics.fmean(times_us) - statistics.fmean(fixed_us)
    share = 100.0 * more_us / _frame_us(frames)
    yield Row("default beyond a fixed arm, of that arm's frame", share, "%", LIMIT_SHARE)


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


def _frame_us(frames: int) -> float:
    """Return the mean microseconds of a frame of the fixed arm, capture to answer."""
    world = make_world(msgspec.structs.replace(_SITE, frames=frames), 0)
    arm = world.arms.index(_ARM)
    return 1e6 * statistics.fmean(turn.cost_of(arm).total_s for turn in world.turns())


def _session_us(frames: int, policy: str = LEARNER) -> list[float]:
    """Return the microseconds that session and policy took for each frame after the first."""
    device, times_us = PlayedDevice(policy), []
    site = msgspec.structs.replace(_SITE, frames=frames)
    for turn in make_world(site, 0).turns():
        before_s = device.spent_s
        device.play(turn)
        times_us.append(1e6 * (device.spent_s - before_s))
    return times_us[_WARM:]
