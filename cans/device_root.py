"""Composition root of `cans device`: the role, an emulated slowness if asked for, and the summary file."""

import asyncio
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bus.address import BrokerAddress
from bus.errors import ConfigurationError
from cans.version import __version__
from device.compute import Compute, load_compute
from device.runtime import run_device
from device.settings import DeviceSettings, DeviceSummary
from lab.emulation import StretchedCompute, load_profile
from lab.namespaces.quota import enter
from lab.testbed.lab_device import run_lab_device

__all__ = ["DeviceSettings", "run_to_summary"]


async def run_to_summary(
    settings: DeviceSettings,
    summary: Path | None,
    emulate: Path | None,
    slowness: float,
    *,
    orders: BrokerAddress | None = None,
    cgroup: Path | None = None,
) -> None:
    """Run a device; write what it came to, also when it is told to stop.

    Args:
        settings: the device.
        summary: file to write, as JSON; None for none.
        orders: where a testbed's coordinator says what to play; None for a device of its own mind.
        cgroup: with `orders`: where it goes once it is loaded.
        emulate: profile of this machine to stretch; None for the machine as it is.
        slowness: how many times slower, with `emulate`.

    Raises:
        ConfigurationError: as `run_device`; the summary cannot be written; a slowness without a profile.
    """
    settings = replace(settings, version=__version__)
    if emulate is None and slowness != 1.0:
        raise ConfigurationError("--slowness needs --emulate: make a profile with cans profile")
    compute: Compute | None = None
    real: Compute | None = None
    if emulate is not None:
        profile = load_profile(emulate)
        real = await asyncio.to_thread(load_compute, settings)
        compute = StretchedCompute(real, profile, slowness)
    if orders is not None:
        if compute is None:
            compute = await asyncio.to_thread(load_compute, settings)
        if cgroup is not None:
            enter(cgroup)
        await run_lab_device(settings, compute, orders)
        return
    ended: list[DeviceSummary] = []
    try:
        await run_device(settings, compute=compute, on_end=ended.append)
    finally:
        if summary is not None and ended:
            found = asdict(ended[0])
            # Network and weights without what the emulator says of itself.
            _write(summary, found if real is None else {**found, "label": real.label})


def _write(path: Path, summary: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(summary) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot write the summary {path}: {error.strerror}") from None
