"""How much a recorder takes in on one core beside the broker's own limit, and how faithful a replay is.

Rates go up step by step; what counts is the highest at which nothing is lost. The recorder is the command
itself, kept to one core; the broker's own limit is what mosquitto_sub, which only counts, gets through the
same broker.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bus.recording.entries import Message
from bus.recording.packing import Packer
from bus.recording.reading import Recording
from lab.bench.rows import Row
from lab.transports.brokers import running

_SMALL_BYTES, _LARGE_BYTES = 64, 1_000_000
_SMALL_RATES = (2_500, 5_000, 7_500, 10_000, 12_500, 15_000, 20_000, 25_000, 30_000, 40_000)
_LARGE_RATES = (50, 100, 150, 200, 250, 300, 400, 500)
_LEAST_SMALL, _LEAST_LARGE = 10_000.0, 200.0
_REPLAYED_A_SECOND, _MOST_OFF_MS = 500, 2.0
_TOPIC = "flood/x"
_PATIENCE_S = 10.0

Taker = Callable[[int, int], Callable[[], int]]
"""Port and expected count in; takes what comes, and returns how much that was once it is called."""


def run(*, quick: bool) -> Iterator[Row]:
    """Measure; a limit is missed where the broker itself gives less, too, and its row says so."""
    seconds = 1.0 if quick else 4.0
    with running("mosquitto") as broker, tempfile.TemporaryDirectory() as folder:
        port = broker.port
        takers: dict[str, Taker] = {"record": lambda at, _: _recorder(at, Path(folder))}
        if shutil.which("mosquitto_sub"):
            takers["mosquitto_sub"] = _subscriber
        for name, taker in takers.items():
            small = _highest(taker, port, _SMALL_BYTES, _SMALL_RATES, seconds)
            limit = _LEAST_SMALL if name == "record" else None
            yield Row(f"{name}: {_SMALL_BYTES} B messages, none lost", small, "1/s", limit, "least")
        for name, taker in takers.items():
            large = _highest(taker, port, _LARGE_BYTES, _LARGE_RATES, seconds)
            limit = _LEAST_LARGE if name == "record" else None
            yield Row(
                f"{name}: messages of 1 MB, none lost", large * _LARGE_BYTES / 1e6, "MB/s", limit, "least"
            )
        off_ms = _spacing_ms(port, Path(folder), 2.0 if quick else 10.0)
        name = f"replay at {_REPLAYED_A_SECOND} messages a second: arrival off its time"
        yield Row(f"{name}, p99", float(np.quantile(off_ms, 0.99)), "ms", _MOST_OFF_MS)
        yield Row(f"{name}, p50", float(np.quantile(off_ms, 0.5)), "ms")


def _highest(taker: Taker, port: int, size: int, rates: tuple[int, ...], seconds: float) -> float:
    """Return the highest rate at which all that is sent is taken; 0 where none is."""
    best = 0.0
    for rate in rates:
        count = round(rate * seconds)
        taken = taker(port, count)
        took = float(_python("lab.bench.flood", port, _TOPIC, count, size, rate))
        if taken() < count:
            break
        best = count / took
        if best < 0.9 * rate:
            break  # who publishes is at its own limit
    return best


def _python(*arguments: object) -> str:
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603 - our own


def _one_core(command: list[str]) -> subprocess.Popen[bytes]:
    """Start a command on the last of our cores."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603 - our own
    os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
    return process


def _recorder(port: int, folder: Path, name: str = "taken") -> Callable[[], int]:
    out = folder / f"{name}.mcap"
    out.unlink(missing_ok=True)
    command = ["-m", "cans", "record", "#", "-o", str(out), "--quiet", "--broker", f"mqtt://127.0.0.1:{port}"]
    process = _one_core([sys.executable, *command])
    _until(out.exists)

    def taken() -> int:
        before = -1
        while out.stat().st_size > before:
            before = out.stat().st_size
            time.sleep(1.2)
        process.send_signal(signal.SIGINT)
        process.wait()
        with out.open("rb") as stream:
            return sum(isinstance(entry, Message) and entry.topic == _TOPIC for entry in Recording(stream))

    return taken


def _subscriber(port: int, count: int) -> Callable[[], int]:
    command = ["mosquitto_sub", "-p", str(port), "-t", _TOPIC, "-F", "%l", "-C", str(count)]
    process = _one_core([*command, "-W", str(round(_PATIENCE_S))])
    time.sleep(0.5)

    def taken() -> int:
        said, _ = process.communicate()
        return said.count(b"\n")

    return taken


def _until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + _PATIENCE_S
    while not true():
        if time.monotonic() > ends:
            raise TimeoutError("the recorder has not begun")
        time.sleep(0.02)


def _spacing_ms(port: int, folder: Path, seconds: float) -> npt.NDArray[np.float64]:
    """Return how far from its time each message of a replay arrived, the delay they all have taken off."""
    source = folder / "steady.mcap"
    packer = Packer({"prefix": "cans/v1"}, "bench")
    for number in range(round(seconds * _REPLAYED_A_SECOND)):
        at_ns = 10**18 + number * 10**9 // _REPLAYED_A_SECOND
        packer.add(Message(number, at_ns, at_ns, "cans/v1/feedback/x/y", os.urandom(300)))
    source.write_bytes(packer.finish())
    taken = _recorder(port, folder, "again")
    _python("cans", "replay", source, "--quiet", "--broker", f"mqtt://127.0.0.1:{port}")
    taken()
    with source.open("rb") as one, (folder / "again.mcap").open("rb") as two:
        due = np.array([entry.steady_ns for entry in Recording(one)])
        came = np.array([each.steady_ns for each in Recording(two) if isinstance(each, Message)])
    if len(due) != len(came):
        raise RuntimeError(f"{len(due)} messages were replayed, {len(came)} have come")
    off_ms = ((came - came[0]) - (due - due[0])) / 1e6
    off: npt.NDArray[np.float64] = np.abs(off_ms - np.median(off_ms))
    return off
