"""A whole site as processes: broker, aggregator, edge worker, devices, started as a person starts them."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

WAIT_S = 60.0
_POLL_S = 0.02


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Site:
    """Processes of one test.

    Args:
        folder: for state, logs and summaries.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.commands: dict[str, list[str]] = {}

    @property
    def url(self) -> str:
        """Of the broker."""
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self, name: str, *arguments: str) -> None:
        """Start `cans ARGUMENTS` in the test's folder."""
        self.commands[name] = [sys.executable, "-m", "cans", *arguments]
        self.again(name)

    def again(self, name: str) -> None:
        """Start it once more with the same command line; its log goes on."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.commands[name], cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )

    def broker(self) -> None:
        """Start the broker, with state that survives it."""
        self.start("broker", "broker", "--port", str(self.port), "--state-dir", "broker-state")
        self.until(self.listening, "the broker listens")

    def aggregator(self) -> None:
        """Start the aggregator."""
        bus = ("--broker", self.url, "--metrics-s", "0.3")
        self.start("aggregator", "aggregator", "--state-dir", "aggregator-state", *bus)

    def edge(self) -> None:
        """Start the edge worker."""
        self.start("edge", "edge", "--broker", self.url)

    def device(self, id_: str = "cam-1", *more: str) -> None:
        """Start a device that keeps its state; one of its policies offloads every frame."""
        plays = ("--fps", "15", "--warm-start", "4", "--deadline-ms", "1500", "--wait-edge-s", "40")
        keeps = ("--state-dir", f"{id_}-state", "--summary", f"{id_}.json", "--flush-s", "15")
        rivals = ("--compare", "edge_only_jpeg", "--metrics-s", "0.3")
        who = ("--id", id_, "--type", "pi4", "--broker", self.url)
        self.start(id_, "device", *who, *plays, *keeps, *rivals, *more)

    def watch(self) -> None:
        """Start a listener that remembers everything but tensors."""
        self.start("watch", "watch", "--broker", self.url, "--json")
        self.until(lambda: self.log("watch") != "", "the listener hears the retained states")

    def heard(self, topic: str) -> list[dict[str, Any]]:
        """The data of every message heard so far on topics that begin with this."""
        lines = self.log("watch").splitlines()
        messages = (json.loads(line) for line in lines if line.startswith("{") and line.endswith("}"))
        return [each["data"] for each in messages if each["topic"].startswith(f"cans/v1/{topic}")]

    def feedback(self, answered_by: str = "", after: int = 0) -> int:
        """How many turns were answered so, later than the first `after` of them."""
        said = self.heard("feedback/")[after:]
        return sum(answered_by in {"", each["answered_by"]} for each in said)

    def kill(self, name: str) -> None:
        """SIGKILL, as a power cut."""
        self.processes[name].kill()
        self.processes[name].wait(WAIT_S)

    def kill_broker(self) -> None:
        """SIGKILL for the broker's own process; the command that started it then ends too."""
        found = re.findall(r"pid (\d+)", self.log("broker"))
        os.kill(int(found[-1]), signal.SIGKILL)
        self.processes.pop("broker").wait(WAIT_S)

    def end(self, name: str) -> int:
        """SIGTERM; return the exit code."""
        self.processes[name].terminate()
        return self.processes[name].wait(WAIT_S)

    def finished(self, name: str) -> int:
        """Wait for its own end; return the exit code."""
        return self.processes[name].wait(WAIT_S)

    def log(self, name: str) -> str:
        """What it has written so far."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def summary(self, id_: str = "cam-1") -> dict[str, Any]:
        """What a device's run came to."""
        found: dict[str, Any] = json.loads((self.folder / f"{id_}.json").read_text())
        return found

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Poll until something holds that only another process can bring about."""
        deadline = time.monotonic() + WAIT_S
        while not condition():
            dead = [name for name, process in self.processes.items() if process.poll() not in {None, 0, -9}]
            if time.monotonic() > deadline or dead:
                logs = "\n".join(f"== {name}\n{self.log(name)[-1500:]}" for name in self.processes)
                raise AssertionError(f"waited in vain until {what}; ended badly: {dead}\n{logs}")
            time.sleep(_POLL_S)

    def until_one_of(self, names: tuple[str, ...]) -> None:
        """Wait until one of these ends, however it does."""
        deadline = time.monotonic() + WAIT_S
        while all(self.processes[name].poll() is None for name in names):
            assert time.monotonic() < deadline, f"none of {names} ended"
            time.sleep(_POLL_S)

    def listening(self) -> bool:
        """Whether somebody takes connections at the broker's port."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
            return True
        return False


@contextlib.contextmanager
def site(folder: Path) -> Iterator[Site]:
    """A site whose processes end with the block, by their own process groups."""
    made = Site(folder)
    try:
        yield made
    finally:
        for process in made.processes.values():
            if process.poll() is None:
                process.terminate()
        for process in made.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
