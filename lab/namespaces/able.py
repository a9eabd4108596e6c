"""Whether this machine can hold network namespaces, and how to mend what it lacks."""

import asyncio
import importlib.util
import os
import secrets
import shutil
import sys
from dataclasses import dataclass

from bus.errors import ConfigurationError
from lab.namespaces.names import BLOCKS, Names, run_of
from lab.namespaces.quota import find_groups, remove


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that is needed.

    Attributes:
        name: of it, short.
        met: whether it is there.
        found: what was found, for people.
        mend: what to do where it is not met.
    """

    name: str
    met: bool
    found: str
    mend: str


def needs() -> list[Need]:
    """Look for all that is needed; what needs root is tried only as root. Blocks."""
    linux = sys.platform == "linux"
    root = linux and os.geteuid() == 0
    library = importlib.util.find_spec("pyroute2") is not None
    tools = all(map(shutil.which, ("nsenter", "unshare")))
    return [
        Need("Linux", linux, sys.platform, "use a Linux machine, or --mode portable"),
        Need("root", root, f"user {os.geteuid()}", "run it as root, such as with sudo"),
        Need("pyroute2", library, "installed" if library else "missing", "pip install 'cans[netns]'"),
        Need("nsenter and unshare", tools, "installed" if tools else "missing", "install util-linux"),
        _links(tried=root and library and tools),
        _quota(tried=root),
    ]


def first_unmet() -> Need | None:
    """Return the first need that is not met."""
    return next((need for need in needs() if not need.met), None)


def _links(*, tried: bool) -> Need:
    """Lay a shaped pair of interfaces and remove it."""
    name = "namespaces, veth and tc tbf"
    mend = (
        "be root with all rights (container: --privileged), on a kernel with CONFIG_NET_NS, CONFIG_VETH and "
        "CONFIG_NET_SCH_TBF (modprobe -a veth sch_tbf)"
    )
    if not tried:
        return Need(name, met=False, found="not tried", mend="mend the above first")
    from pyroute2 import NetlinkError  # noqa: PLC0415 - an extra

    try:
        asyncio.run(_lay())
    except NetlinkError as error:
        return Need(name, met=False, found=os.strerror(error.code), mend=mend)
    except OSError as error:
        return Need(name, met=False, found=str(error), mend=mend)
    return Need(name, met=True, found="tried, works", mend=mend)


async def _lay() -> None:
    from lab.namespaces.device_net import DeviceNet  # noqa: PLC0415 - needs the extra

    async with DeviceNet(Names(_run(), 0, BLOCKS - 1)):
        pass


def _quota(*, tried: bool) -> Need:
    """Make a cgroup with a quota and remove it."""
    name = "cgroup CPU quota"
    mend = "mount cgroups with the controller cpu, writable: not all containers have that"
    groups = find_groups()
    if groups is None:
        return Need(name, met=False, found="no cgroup has CPU quotas", mend=mend)
    where = f"version {groups.version} at {groups.root}"
    if not tried:
        return Need(name, met=False, found=f"{where}, not tried", mend="mend the above first")
    try:
        remove(groups.make(Names(_run(), 0, 0).namespace, 8.0))
    except ConfigurationError as error:
        return Need(name, met=False, found=str(error), mend=mend)
    return Need(name, met=True, found=where, mend=mend)


def _run() -> str:
    """Return whose a trial is: nobody's, so that what a killed one leaves is removed."""
    return run_of(secrets.token_hex())
