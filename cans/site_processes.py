"""The processes of a site on this machine: in sessions of their own, watched, and ended, whatever happens.

A terminal sends Ctrl-C to a whole process group; with a session each, only who started them gets it and ends
them in order, so that they say goodbye and hand in what they know. Who is killed himself ends nobody: his
children carry his mark, and the next start ends those whose parent is gone.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from bus.errors import CansError, ConfigurationError
from lab.marks import mark

_END_TIMEOUT_S = 8.0
_LAST_LINES = 15
# A process may have taken another's place.
_LOOK_AGAIN_S = 1.0
# How a command says that a setting cannot work, in its one sentence.
_WRONG_SETTING = 2
_SENTENCE = "cans: "
# Of a child's environment: who has started it.
_PARENT = "CANS_STARTED_BY"


class ProcessFailed(CansError):  # noqa: N818 - says what happened
    """A process ended that should not have, or badly."""


@dataclass(slots=True)
class Child:
    """One process. `stdin` is kept open where it means "go on"; once `let_go` it may end."""

    name: str
    process: asyncio.subprocess.Process
    log: Path
    let_go: bool = False

    def last_lines(self) -> str:
        """The end of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-_LAST_LINES:]) or "    (it wrote nothing)"

    def failure(self) -> CansError:
        """The sentence for a person: its own if a setting cannot work, else with its last words."""
        if self.process.returncode == _WRONG_SETTING:
            said = self.log.read_text(encoding="utf-8", errors="replace").rpartition(_SENTENCE)[2].strip()
            if said:
                return ConfigurationError(said)
        return ProcessFailed(
            f"{self.name} ended with code {self.process.returncode}; the end of {self.log}:\n"
            f"{self.last_lines()}"
        )


def leftovers() -> list[psutil.Process]:
    """Return what killed parents have left behind; blocks."""
    return [process for process in psutil.process_iter() if _orphaned(process)]


def end_leftovers() -> int:
    """End what killed parents have left behind; return how many processes that were. Blocks."""
    left = leftovers()
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(left, timeout=_END_TIMEOUT_S)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return len(left)


def started_by() -> dict[str, str]:
    """Return what the environment of each child says, so that it can be found when its parent was killed."""
    return {_PARENT: mark()}


def _orphaned(process: psutil.Process) -> bool:
    try:
        parent = process.environ().get(_PARENT, "")
        return bool(parent) and mark(psutil.Process(int(parent.partition(":")[0]))) != parent
    except psutil.NoSuchProcess as gone:
        return gone.pid != process.pid
    except (psutil.AccessDenied, ValueError):
        return False


class Children:
    """Every process of one site; an asynchronous context manager that ends them all.

    Args:
        logs: folder for one log file each.
    """

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self._children: list[Child] = []

    async def __aenter__(self) -> Self:
        self.logs.mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Shielded: a second Ctrl-C must not leave half of them behind.
        await asyncio.shield(asyncio.ensure_future(self.end_all()))  # noqa: TID251 - shield needs a task

    async def start(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        pipes: bool = False,
        environment: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> Child:
        """Start `python -m ARGUMENTS` with its output in a log file.

        Args:
            name: for people, and of the log file.
            arguments: module and its arguments.
            pipes: keep standard input open and read standard output, instead of logging it.
            environment: on top of this process's.
            within: command that runs the rest of its line, such as nsenter.
        """
        log = self.logs / f"{name}.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *within,
                sys.executable,
                "-m",
                *arguments,
                stdin=asyncio.subprocess.PIPE if pipes else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if pipes else file,
                stderr=file,
                start_new_session=True,
                env={**os.environ, **started_by(), **(environment or {})},
            )
        child = Child(name, process, log)
        self._children.append(child)
        return child

    async def run(self, name: str, arguments: Sequence[str]) -> None:
        """Run one to its end.

        Raises:
            ConfigurationError: a setting of its cannot work.
            ProcessFailed: it ended with another code than 0.
        """
        child = await self.start(name, arguments)
        if await child.process.wait() != 0:
            raise child.failure()
        self._children.remove(child)

    async def watch(self, children: Sequence[Child]) -> None:
        """Wait, for ever, until one of them ends that was not let go; the list may change meanwhile.

        Raises:
            ProcessFailed: when it does.
        """
        waits: dict[asyncio.Task[int], Child] = {}
        try:
            while True:
                for child in children:
                    if not child.let_go and not any(child is each for each in waits.values()):
                        waits[asyncio.create_task(child.process.wait(), name=child.name)] = child
                if not waits:  # somebody's place is empty for the moment
                    await asyncio.sleep(_LOOK_AGAIN_S)
                    continue
                done, _ = await asyncio.wait(
                    waits, timeout=_LOOK_AGAIN_S, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    child = waits.pop(task)
                    if not child.let_go:
                        raise child.failure()
        finally:
            for task in waits:
                task.cancel()

    async def finished(self, children: Sequence[Child]) -> None:
        """Wait until all of them have ended well.

        Raises:
            ProcessFailed: as soon as one ends badly.
        """
        waits = {asyncio.create_task(child.process.wait(), name=child.name): child for child in children}
        try:
            for wait in asyncio.as_completed(waits):
                await wait
                for child in children:
                    if child.process.returncode not in {None, 0}:
                        raise child.failure()
        finally:
            for task in waits:
                task.cancel()

    async def end_all(self) -> None:
        """End the last started first: devices hand in their statistics while the aggregator still listens."""
        for child in reversed(self._children):
            if child.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.process.terminate()
        for child in reversed(self._children):
            try:
                async with asyncio.timeout(_END_TIMEOUT_S):
                    await child.process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    child.process.kill()
                await child.process.wait()
