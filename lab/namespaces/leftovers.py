"""What killed runs have left in the kernel: namespaces, interfaces with their queues, cgroups.

Looks at names alone (`names.py`), so that nothing of anybody else's is touched.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

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
    """Remove them, and kill who is still in the cgroups; blocks, and needs root."""
    for group in found.groups:
        remove(group)
    if found.namespaces or found.interfaces:
        asyncio.run(_remove(found))


async def _remove(found: Leftovers) -> None:
    from pyroute2 import AsyncIPRoute, netns  # noqa: PLC0415 - an extra; without it nothing was made

    from lab.namespaces.device_net import remove_link  # noqa: PLC0415

    async with AsyncIPRoute() as root:
        for interface in found.interfaces:
            await remove_link(root, interface)
    for namespace in found.namespaces:
        netns.remove(namespace)
