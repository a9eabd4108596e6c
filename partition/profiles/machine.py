"""What machine this is, and what disturbs it while something is timed: read from the system, never guessed.

A system that does not tell (a container, macOS) leaves the field empty; nothing here fails.
"""

import contextlib
import os
import platform
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

from partition.profiles.profile_file import Conditions, Machine, Timing

_CPU = Path("/sys/devices/system/cpu")
_CPUINFO = Path("/proc/cpuinfo")
# Where a container's processor quota is counted; a device's heat is counted by each core below `_CPU`.
_QUOTA = Path("/sys/fs/cgroup/cpu.stat")
# Raspberry Pi: bits 0 to 3 say under-voltage, capped, throttled, too hot, at this moment.
_FIRMWARE = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")


def this_machine() -> Machine:
    """Return this machine."""
    return Machine(
        architecture=platform.machine(),
        processor=_processor(),
        cores=psutil.cpu_count() or 1,
        memory_mib=psutil.virtual_memory().total >> 20,
        system=f"{platform.system()} {platform.release()}",
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    wall_s: float
    thread_s: float
    mhz: float | None
    throttled: int


class Watch:
    """Watches this machine from its making until `conditions`, in one thread."""

    def __init__(self) -> None:
        self._load = _load_average()
        self._first = _read()

    def conditions(
        self, *, threads: int, probe: Timing, network_drift: float, probe_drift: float
    ) -> Conditions:
        """Return what was seen, and what was measured."""
        last = _read()
        wall_s = last.wall_s - self._first.wall_s
        on_processor_s = last.thread_s - self._first.thread_s
        both = (self._first.mhz, last.mhz)
        return Conditions(
            torch=metadata.version("torch"),
            threads=threads,
            governor=_word(_CPU / "cpu0/cpufreq/scaling_governor"),
            driver=_word(_CPU / "cpu0/cpufreq/scaling_driver"),
            frequency_mhz=None if both[0] is None or both[1] is None else (both[0], both[1]),
            highest_mhz=_highest_mhz(),
            load_average=self._load,
            taken_share=round(min(1.0, max(0.0, 1.0 - on_processor_s / wall_s)), 4) if wall_s else 0.0,
            throttled=max(0, last.throttled - self._first.throttled),
            on_battery=_on_battery(),
            probe=probe,
            network_drift=network_drift,
            probe_drift=probe_drift,
        )


def _read() -> _Reading:
    return _Reading(time.perf_counter(), time.thread_time(), _mhz(), _throttled())


def _processor() -> str:
    """Return the processor's name: a Raspberry Pi says its own as "Model", others "model name"."""
    said: dict[str, str] = {}
    with contextlib.suppress(OSError, UnicodeDecodeError):
        for line in _CPUINFO.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            said.setdefault(key.strip(), value.strip())
    return (said.get("Model") or said.get("model name") or platform.processor() or "unknown")[:256]


def _word(path: Path) -> str:
    """Return what a file of one word says; nothing where there is none."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8").strip()[:64]
    return ""


def _mhz() -> float | None:
    with contextlib.suppress(OSError, AttributeError, NotImplementedError, RuntimeError):
        found = psutil.cpu_freq()
        return round(float(found.current), 1) if found is not None and found.current else None
    return None


def _highest_mhz() -> float | None:
    with contextlib.suppress(OSError, AttributeError, NotImplementedError, RuntimeError):
        found = psutil.cpu_freq()
        return round(float(found.max), 1) if found is not None and found.max else None
    return None


def _load_average() -> float | None:
    with contextlib.suppress(OSError, AttributeError):
        return round(os.getloadavg()[0], 2)
    return None


def _on_battery() -> bool:
    with contextlib.suppress(OSError, AttributeError, RuntimeError):
        battery = psutil.sensors_battery()
        return battery is not None and battery.power_plugged is False
    return False


def _throttled() -> int:
    """Return how often heat, voltage or a quota has slowed the processor so far; differences mean much."""
    counters = [_word(each) for each in _CPU.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")]
    counters += [line.partition(" ")[2] for line in _word_lines(_QUOTA) if line.startswith("nr_throttled ")]
    firmware = _word(_FIRMWARE)
    flags = int(firmware, 16) & 0xF if firmware else 0
    return sum(int(each) for each in counters if each.isdigit()) + flags


def _word_lines(path: Path) -> list[str]:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8").splitlines()
    return []
