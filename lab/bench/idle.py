"""What a device process costs while it waits: CPU and memory."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from bus.errors import ConfigurationError
from lab.bench.rows import Row
from lab.transports.brokers import running

_READY_TIMEOUT_S = 120.0
_WAITING = ("--warm-start", "0", "--wait-edge-s", "3600", "--fps", "0.001")


def run(*, quick: bool) -> Iterator[Row]:
    """Start a device with no edge worker to ask, wait until it only waits, and watch it."""
    seconds = 3.0 if quick else 10.0
    with running("mosquitto") as broker, tempfile.TemporaryDirectory(prefix="cans-bench-") as folder:
        log = Path(folder) / "log"
        command = [sys.executable, "-m", "cans", "device", "--id", "idle", "--broker", broker.url]
        with log.open("wb") as file:
            process = subprocess.Popen([*command, *_WAITING], stderr=file)  # noqa: S603 - our own command line
        try:
            watched = psutil.Process(process.pid)
            _until_quiet(watched)
            before = watched.cpu_times()
            start = time.monotonic()
            # Not waiting for something: this is the span that is measured.
            time.sleep(seconds)
            after, took = watched.cpu_times(), time.monotonic() - start
            memory = watched.memory_info().rss
        except psutil.NoSuchProcess:
            raise ConfigurationError(f"the device ended: {log.read_text(errors='replace')[-500:]}") from None
        finally:
            process.terminate()
            process.wait(timeout=30)
    busy = after.user + after.system - before.user - before.system
    # The kernel counts in ticks of 10 ms; digits below them are arithmetic, not measurement.
    yield Row("device at rest: CPU", round(100.0 * busy / took, 1), "%")
    yield Row("device at rest: memory", memory / 2**20, "MiB")


def _until_quiet(watched: psutil.Process) -> None:
    """Wait until a second passes in which it used almost no CPU: everything is loaded."""
    deadline = time.monotonic() + _READY_TIMEOUT_S
    watched.cpu_percent()
    while time.monotonic() < deadline:
        time.sleep(1.0)
        # At least torch must be in: a process that has not begun is quiet too.
        if watched.cpu_percent() < 5.0 and watched.memory_info().rss > 150 * 2**20:
            return
    raise ConfigurationError("the device did not come to rest")
