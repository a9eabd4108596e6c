"""A device type by a share of one processor: cgroup CPU quotas, version 1 or 2, whichever the machine has.

The kernel looks at a quota at its ticks, 1 to 10 ms apart, so work shorter than a tick may run at full speed
after a rest, and pays for it afterwards. What is computed in slices finds its caches cold, and takes more
processor time than in one piece: 20 to 30 % more was seen, and more still in slices below a tick.
"""

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bus.errors import ConfigurationError
from lab.namespaces.names import run_in

MEMBERS = "cgroup.procs"
# A tick of most kernels: a smaller one is overdrawn and repaid, and only cuts work into more slices.
_QUOTA_US = 4_000
# Below it the kernel refuses.
_LEAST_QUOTA_US = 1_000
_LONGEST_PERIOD_US = 1_000_000
_END_S = 2.0


@dataclass(frozen=True, slots=True)
class CpuGroups:
    """Where cgroups with CPU quotas can be made.

    Attributes:
        root: their parent. version: 1 or 2.
    """

    root: Path
    version: int

    def make(self, name: str, slowness: float) -> Path:
        """Return a new group that gets 1 / slowness of one processor.

        Raises:
            ConfigurationError: the kernel refuses.
        """
        group = self.root / name
        try:
            if self.version == 2:
                _enable(self.root)
            group.mkdir(exist_ok=True)
            self.change(group, slowness)
        except OSError as error:
            with contextlib.suppress(OSError):
                group.rmdir()
            raise ConfigurationError(
                f"no CPU quota can be set in {self.root} ({error.strerror}): run as root, outside of "
                "containers that keep cgroups to themselves, or use --mode portable"
            ) from None
        return group

    def change(self, group: Path, slowness: float) -> None:
        """Give a group 1 / slowness of one processor from now on."""
        for file, text in limits(self.version, slowness).items():
            (group / file).write_text(text)

    def leave(self) -> None:
        """Move this process to where it is not held back."""
        (self.root / MEMBERS).write_text(str(os.getpid()))

    def ours(self) -> Mapping[Path, str]:
        """Return the groups that runs have made, and whose they are."""
        found = {path: run_in(path.name) for path in self.root.iterdir() if path.is_dir()}
        return {path: run for path, run in found.items() if run is not None}


def limits(version: int, slowness: float) -> dict[str, str]:
    """Return what to write into which file, for a processor that is so many times slower.

    The period is as short as the quota lets it be: a device that is 8 times slower stalls for 28 ms at once,
    and not for the default's 100.
    """
    if slowness <= 1.0:
        quota, period = None, _QUOTA_US
    else:
        period = round(min(_QUOTA_US * slowness, _LONGEST_PERIOD_US))
        quota = max(_LEAST_QUOTA_US, round(period / slowness))
    if version == 2:
        return {"cpu.max": f"{'max' if quota is None else quota} {period}"}
    return {"cpu.cfs_period_us": str(period), "cpu.cfs_quota_us": str(-1 if quota is None else quota)}


def find_groups(mounts: str | None = None) -> CpuGroups | None:
    """Return where this machine keeps CPU quotas; None where it has none.

    Args:
        mounts: text of /proc/mounts; read when None.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/mounts").read_text(encoding="utf-8")
        except OSError:
            return None
    lines = [line.split() for line in mounts.splitlines()]
    for _, place, kind, options, *_ in lines:
        if kind == "cgroup" and "cpu" in options.split(",") and Path(place, "cpu.shares").exists():
            return CpuGroups(Path(place), 1)
    for _, place, kind, *_ in lines:
        controllers = Path(place, "cgroup.controllers")
        if kind == "cgroup2" and controllers.exists() and "cpu" in controllers.read_text().split():
            return CpuGroups(Path(place), 2)
    return None


def require_groups() -> CpuGroups:
    """Return where this machine keeps CPU quotas.

    Raises:
        ConfigurationError: it has none.
    """
    groups = find_groups()
    if groups is None:
        raise ConfigurationError("no cgroup of this machine has CPU quotas: use --mode portable")
    return groups


def enter(group: Path) -> None:
    """Move this process, all its threads, into a group.

    Raises:
        ConfigurationError: it is not there, or not ours to enter.
    """
    try:
        (group / MEMBERS).write_text(str(os.getpid()))
    except OSError as error:
        raise ConfigurationError(f"cannot enter the cgroup {group}: {error.strerror}") from None


def members(group: Path) -> list[int]:
    """Return the processes of a group; none where there is no group."""
    try:
        return [int(line) for line in (group / MEMBERS).read_text().split()]
    except OSError:
        return []


def remove(group: Path) -> bool:
    """Kill who is still in a group, and remove it; blocks. Return whether it is gone."""
    deadline = time.monotonic() + _END_S
    while group.exists() and time.monotonic() < deadline:
        for number in members(group):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        try:
            group.rmdir()
        except OSError:
            time.sleep(0.01)  # the killed are still on their way out
    return not group.exists()


def _enable(root: Path) -> None:
    """Let children of a version 2 group have CPU quotas."""
    control = root / "cgroup.subtree_control"
    if "cpu" not in control.read_text().split():
        control.write_text("+cpu")
