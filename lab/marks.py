"""Who a process is, also once its number is somebody else's: so what it has left is told to be its."""

from pathlib import Path

import psutil


def mark(process: psutil.Process | None = None) -> str:
    """Return the mark of a process, of this one when None: its number and its birth."""
    process = process or psutil.Process()
    try:
        # Ticks since the machine's start, where they can be had: times of day move when a clock is set.
        born = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except OSError:
        born = f"{process.create_time():.2f}"
    return f"{process.pid}:{born}"


def marks() -> set[str]:
    """Return the marks of all processes there are; blocks."""
    return {mark(process) for process in psutil.process_iter()}
