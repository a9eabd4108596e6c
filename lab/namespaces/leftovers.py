"""What killed runs have left in the kernel: namespaces, interfaces with their queues, cgroups.

Looks at names alone (`names.py`), so that nothing of anybody else's is touched.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from bus.errors import ConfigurationError
from lab.namespaces.names import NAMESPACES, run_in, run_of
from lab.namespaces.quota import CpuGroups, find_groups, remove

_INTERFACES = Path("/sys/class/net")


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Names of what nobody who lives has made."""

    namespaces: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()
    groups: tuple[Path, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.namespaces or self.interfaces or self.groups)

    def __str__(self) -> str:
        counts = {
            "namespaces": len(self.namespaces),
            "interfaces": len(self.interfaces),
            "cgroups": len(self.groups),
        }
        return ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "nothing"


def find_leftovers(living: Collection[str], groups: CpuGroups | None = None) -> Leftovers:
    """Look for what is left.

    Args:
        living: marks of all processes there are; what one of them has made is no leftover.
        groups: where cgroups are; found when None.
    """
    runs = {run_of(mark) for mark in living}

    def left(name: str) -> bool:
        run = run_in(name)
        return run is not None and run not in runs

    groups = groups or find_groups()
    namespaces = {path.name for path in NAMESPACES.iterdir()} if NAMESPACES.is_dir() else set()
    interfaces = {path.name for path in _INTERFACES.iterdir()} if _INTERFACES.is_dir() else set()
    return Leftovers(
        tuple(sorted(filter(left, namespaces))),
        tuple(sorted(filter(left, interfaces))),
        tuple(sorted(path for path, run in groups.ours().items() if run not in runs)) if groups else (),
    )


def remove_leftovers(found: Leftovers) -> None:
    """Remove them, and kill who is still in the cgroups; blocks, and needs root.

    Raises:
        ConfigurationError: not all of it could be removed.
    """
    kept = [str(group) for group in found.groups if not remove(group)]
    if found.namespaces or found.interfaces:
        kept += asyncio.run(_remove(found))
    if kept:
        raise ConfigurationError(
            f"a killed run has left {', '.join(kept)}, which cannot be removed: see `cans doctor testbed`"
        )


async def _remove(found: Leftovers) -> list[str]:
    """Return what could not be removed."""
    try:
        from pyroute2 import AsyncIPRoute, NetlinkError, netns  # noqa: PLC0415 - an extra

        from lab.namespaces.device_net import remove_link  # noqa: PLC0415
    except ImportError:
        return [*found.namespaces, *found.interfaces]
    kept = []
    async with AsyncIPRoute() as root:
        for interface in found.interfaces:
            try:
                await remove_link(root, interface)
            except NetlinkError:
                kept.append(interface)
    for namespace in found.namespaces:
        try:
            netns.remove(namespace)
        except OSError:
            kept.append(namespace)
    return kept
