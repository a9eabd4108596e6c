"""A slower device than this machine: the real computing runs, and the rest of its time is slept.

Target times are this machine's own, measured once while nothing else ran, times a slowness. So what else
the machine does meanwhile disappears, as long as the real computing ends before its target. Every figure
made this way is emulated and says so. This file must never make anything faster than it is.

`cans profile --out profile.json` measures, `cans device --emulate profile.json --slowness 8` uses it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bus.errors import ConfigurationError
from device.compute import Compute, Frame, LocalAnswer
from device.events import ExitRow, Head
from device.plan import Plan
from partition.profiles.profile_file import Profile, read_profile

_MAKE_IT = "make it with cans profile --out FILE"


@dataclass(frozen=True, slots=True)
class MachineProfile:
    """What each arm costs the measuring machine at rest; medians, milliseconds.

    Attributes:
        model: hash of the network measured.
        labels: of the arms, in order.
        head_ms: per arm: preprocessing where it falls to the device, and head.
        encode_ms: per arm.
        payload_bytes: per arm, mean over built-in frames.
        finish_ms: per arm: the tail, run on the device as a fallback.
        edge_ms: per arm: decoding and tail on the edge worker.
        exit_ms: per early exit, the network's own end included.
    """

    model: str
    labels: tuple[str, ...]
    head_ms: tuple[float, ...]
    encode_ms: tuple[float, ...]
    payload_bytes: tuple[float, ...]
    finish_ms: tuple[float, ...]
    edge_ms: tuple[float, ...]
    exit_ms: tuple[float, ...]


def load_profile(path: Path) -> MachineProfile:
    """Read a file of `cans profile`.

    Raises:
        ConfigurationError: no such file, or not a profile.
    """
    return _targets_of(read_profile(path))


def measure(model_name: str = "mobilenet_v2", *, seed: int = 0, repeats: int = 20) -> MachineProfile:
    """Measure this machine; takes a few seconds and wants them undisturbed."""
    from partition.networks.zoo import load_model  # noqa: PLC0415
    from partition.partitioned import build  # noqa: PLC0415
    from partition.profiles.calibration import calibrate  # noqa: PLC0415 - torch, only where something is measured

    return _targets_of(calibrate(build(load_model(model_name, seed=seed)), repeats=repeats))


def _targets_of(profile: Profile) -> MachineProfile:
    return MachineProfile(
        model=profile.model,
        labels=tuple(arm.label for arm in profile.arms),
        head_ms=tuple(arm.head.median_ms for arm in profile.arms),
        encode_ms=tuple(arm.encode.median_ms for arm in profile.arms),
        payload_bytes=tuple(arm.payload_bytes for arm in profile.arms),
        finish_ms=tuple(arm.tail.median_ms for arm in profile.arms),
        edge_ms=tuple(arm.decode.median_ms + arm.tail.median_ms for arm in profile.arms),
        exit_ms=tuple(each.time.median_ms for each in profile.exits),
    )


class StretchedCompute:
    """Implements `Compute` by stretching another's times to a multiple of a measured profile.

    Args:
        inner: the real computing.
        profile: this machine at rest.
        slowness: how many times slower the emulated device is, >= 1.
        sleep: waits; blocks the worker thread as computing would.

    Raises:
        ConfigurationError: profile of another network, or a slowness below 1.
    """

    emulated = True

    def __init__(
        self,
        inner: Compute,
        profile: MachineProfile,
        slowness: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not slowness >= 1.0:
            raise ConfigurationError(
                f"--slowness {slowness:g} will not do: a device can only be emulated slower"
            )
        if profile.model != inner.plan.model:
            raise ConfigurationError(
                f"the profile is of model {profile.model}, the device runs {inner.plan.model}: {_MAKE_IT}"
            )
        if inner.plan.exits and len(profile.exit_ms) != inner.exit_count:
            raise ConfigurationError(
                f"the profile has times of {len(profile.exit_ms)} exits, the device has {inner.exit_count}: "
                "give cans profile the same --exits"
            )
        self._inner = inner
        self._profile = profile
        self._slowness = slowness
        self._sleep = sleep
        self.label = f"{inner.label}, emulated {slowness:g}x slower"

    @property
    def plan(self) -> Plan:
        """As `Compute.plan`."""
        return self._inner.plan

    @property
    def exit_count(self) -> int:
        """As `Compute.exit_count`."""
        return self._inner.exit_count

    @property
    def input_size(self) -> tuple[int, int]:
        """As `Compute.input_size`."""
        return self._inner.input_size

    @property
    def front_s(self) -> tuple[float, ...]:
        """Seconds of head and encode of each arm, on the emulated device."""
        profile = self._profile
        both = zip(profile.head_ms, profile.encode_ms, strict=True)
        return tuple(self._slowness * (head + encode) / 1e3 for head, encode in both)

    @property
    def edge_s(self) -> tuple[float, ...]:
        """Seconds of decode and tail of each arm, on the machine that was profiled."""
        return tuple(each / 1e3 for each in self._profile.edge_ms)

    def run_head(self, frame: Frame, arm: int, until: int | None = None) -> Head:
        """As `Compute.run_head`, in the emulated device's time."""
        started = time.monotonic()
        head = self._inner.run_head(frame, arm, until)
        profile = self._profile
        # Where an exit has answered, nothing was encoded.
        expected_ms, expected_encode_ms = (
            (self._head_ms(arm), profile.encode_ms[arm])
            if head.exit is None
            else (profile.exit_ms[head.exit], 0.0)
        )
        head_ms = max(head.head_ms, expected_ms * self._slowness)
        encode_ms = max(head.encode_ms, expected_encode_ms * self._slowness)
        self._wait_until(started + (head_ms + encode_ms) / 1e3)
        return replace(head, head_ms=head_ms, encode_ms=encode_ms, kept=(arm, head.kept))

    def finish(self, kept: object, exit_index: int | None = None) -> LocalAnswer:
        """As `Compute.finish`, in the emulated device's time."""
        started = time.monotonic()
        assert isinstance(kept, tuple)
        arm, inner_kept = kept
        answer = self._inner.finish(inner_kept, exit_index)
        profile = self._profile
        if exit_index is None:
            expected_ms = profile.finish_ms[arm]
        else:
            expected_ms = profile.exit_ms[exit_index] - profile.head_ms[arm]
        fallback_ms = max(answer.fallback_ms, expected_ms * self._slowness)
        self._wait_until(started + fallback_ms / 1e3)
        return replace(answer, fallback_ms=fallback_ms)

    def run_exits(self, frame: Frame, exit_index: int) -> ExitRow:
        """As `Compute.run_exits`, in the emulated device's time."""
        started = time.monotonic()
        row = self._inner.run_exits(frame, exit_index)
        latency_s = max(row.latency_s, self._profile.exit_ms[exit_index] * self._slowness / 1e3)
        self._wait_until(started + latency_s)
        return replace(row, latency_s=latency_s)

    def _head_ms(self, arm: int) -> float:
        """Return what a head takes, with the exits on its way that were asked in vain."""
        plan, profile = self._inner.plan, self._profile
        asked = sum(each.sure and each.cut <= plan.arms[arm].cut for each in plan.exits)
        if not asked:
            return profile.head_ms[arm]
        # The network's end as an exit has every head on its way; each is taken to cost as much as another.
        heads_ms = max(0.0, profile.exit_ms[-1] - profile.head_ms[plan.device_arm])
        return profile.head_ms[arm] + heads_ms * asked / len(plan.exits)

    def _wait_until(self, when: float) -> None:
        rest = when - time.monotonic()
        if rest > 0.0:
            self._sleep(rest)
