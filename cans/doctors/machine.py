"""This machine, for those who compute on it: what makes it slower than it is, or its times untrue."""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from cans.doctors.findings import Finding, informs

_GOVERNORS = Path("/sys/devices/system/cpu")
_SLOW = {"powersave", "conservative"}
# With these "powersave" is the usual one, and lets the processor run fast under load.
_QUICK_DRIVERS = {"intel_pstate", "amd-pstate-epp"}
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_LEAST_FREE_BYTES = 500_000_000
_SILENT = "this system does not tell, as most virtual machines"


def examine(
    environment: Mapping[str, str] = os.environ,
    *,
    cpu: Path = _GOVERNORS,
    folder: Path = Path(),
    load: float | None = None,
) -> list[Finding]:
    """Look at what can be read; what a system does not tell is no fault.

    Args:
        environment: variables that numerical libraries read.
        cpu: where the kernel says what processors do.
        folder: whose disk is looked at.
        load: runnable processes, mean of the last minute; the system's when None.
    """
    return [*_governor(cpu), *_heat(cpu), *_load(load), *_threads(environment), *_disk(folder)]


def _governor(cpu: Path) -> Iterator[Finding]:
    found = {_word(path) for path in cpu.glob("cpu[0-9]*/cpufreq/scaling_governor")} - {""}
    drivers = {_word(path) for path in cpu.glob("cpu[0-9]*/cpufreq/scaling_driver")}
    well = not found & _SLOW or bool(drivers & _QUICK_DRIVERS)
    mend = "times scatter while the clock is kept low: cpupower frequency-set -g performance"
    said = ", ".join(sorted(found)) or "not said"
    yield informs("governor", ok=well, found=said, mend=mend if found else _SILENT, tried=bool(found))


def _heat(cpu: Path) -> Iterator[Finding]:
    words = [_word(path) for path in cpu.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")]
    count = sum(int(word) for word in words if word.isdigit())
    mend = "it has been slowed down by its heat since it was started: cool it"
    said = f"{count} times" if words else "not said"
    yield informs(
        "throttled by heat", ok=count == 0, found=said, mend=mend if words else _SILENT, tried=bool(words)
    )


def _load(load: float | None) -> Iterator[Finding]:
    cores = os.cpu_count() or 1
    if load is None:
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    mend = "other programs compete for its cores: stop them, or give it less to do"
    yield informs("load", ok=load <= 2.0 * cores, found=f"{load:.1f} on {cores} cores", mend=mend)


def _threads(environment: Mapping[str, str]) -> Iterator[Finding]:
    cores = os.cpu_count() or 1
    said = {name: environment[name] for name in _THREADS if environment.get(name)}
    wrong = [name for name, value in said.items() if not value.isdecimal() or not 1 <= int(value) <= cores]
    mend = f"give {', '.join(wrong) or 'them'} a number from 1 to {cores}, or nothing: --threads says it here"
    found = ", ".join(f"{name}={value}" for name, value in said.items()) or "nothing set"
    yield informs("threads", ok=not wrong, found=found, mend=mend)


def _disk(folder: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(folder).free
    mend = "state folders and recordings need room: free some, or move --state-dir"
    yield informs("disk", ok=free >= _LEAST_FREE_BYTES, found=f"{free / 1e9:.1f} GB free", mend=mend)


def _word(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
