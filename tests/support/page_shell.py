"""A shell that follows one page of the documentation, in a folder and on a broker of its own.

Addresses in the text are those of a reader's site; here they stand for ports of this machine, a
recording is shorter, and a tiny network takes the place of MobileNetV2. Nothing else is changed.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from tests.support.documents import ROOT, Block
from tests.support.site import free_port

# For one command to end, or to be ready.
PATIENCE_S = 90.0
# After Ctrl-C.
GOODBYE_S = 20.0


class PageFailedError(AssertionError):
    """A command of a page did not do what the page says; its output is told."""


class PageShell:
    """Runs the blocks of a page one after the other.

    Args:
        folder: where the page is followed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._secure_port = free_port()
        self._serving: list[_Running] = []
        # Who names no broker means the one on this machine.
        (folder / "cans.toml").write_text(f'[broker]\nurl = "mqtt://127.0.0.1:{self.port}"\n')
        (folder / "config").mkdir()
        (folder / "config" / "mosquitto_sub").write_text(f"-p {self.port}\n")

    async def follow(self, block: Block) -> None:
        """Do with a block what its comment says.

        Raises:
            PageFailedError: a command ended otherwise than it should, or was never ready.
        """
        if block.how == "run":
            await self._run(block)
        elif block.how in {"serve", "try"}:
            if len(block.signs) != len(block.commands):
                where = f"{block.page}:{block.line}"
                raise PageFailedError(f"{where}: {len(block.commands)} commands, {len(block.signs)} signs")
            for command, sign in zip(block.commands, block.signs, strict=True):
                await self._serve(block, command, sign)
                if block.how == "try":
                    await self._stop_last()

    async def end(self) -> None:
        """Stop by Ctrl-C what still serves, the last one first."""
        while self._serving:
            await self._stop_last()

    async def kill(self) -> None:
        """End at once what still serves, after a failure."""
        while self._serving:
            await self._serving.pop().killed()

    async def _stop_last(self) -> None:
        await self._serving[-1].stop()
        self._serving.pop()

    async def _run(self, block: Block) -> None:
        running = _Running(block, block.text, await self._start(f"set -euo pipefail\n{block.text}"))
        try:
            async with asyncio.timeout(PATIENCE_S):
                code = await running.ended()
        except TimeoutError:
            raise running.failure(f"not done after {PATIENCE_S:.0f} s") from None
        finally:
            await running.killed()
        if code != block.exit_code:
            raise running.failure(f"exit code {code}")

    async def _serve(self, block: Block, command: str, sign: str) -> None:
        self._serving.append(_Running(block, command, await self._start(command)))
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._serving[-1].shown(sign)
        except TimeoutError:
            raise self._serving[-1].failure(f"{sign!r} never came") from None

    async def _start(self, text: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            self._here(text),
            cwd=self.folder,
            env=self._environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )

    def _here(self, text: str) -> str:
        for reader, here in (
            ("broker.example.org:8883", f"localhost:{self._secure_port}"),
            ("broker.example.org", "localhost"),
            ("--port 8883", f"--port {self._secure_port}"),
            ("broker.local", f"127.0.0.1:{self.port}"),
            ("homeassistant.local", f"127.0.0.1:{self.port}"),
            ("127.0.0.1:1883", f"127.0.0.1:{self.port}"),
            ("--port 1883", f"--port {self.port}"),
            ("|1883|", f"|{self.port}|"),
            ("0.0.0.0", "127.0.0.1"),
            ("/var/lib/cans", str(self.folder / "var")),
            ("--seconds 10", "--seconds 4"),  # nobody learns more from a longer recording here
        ):
            text = text.replace(reader, here)
        return text

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin",
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "XDG_DATA_HOME": str(self.folder / "data"),
            # Every process that loads MobileNetV2 costs ten seconds; what a page says to type stays as it is.
            "PYTHONPATH": str(ROOT),
            "CANS_EDGE_MODEL": "tests.support.tiny_network:make",
            "CANS_DEVICE_MODEL": "tests.support.tiny_network:make",
            "CANS_DASHBOARD_PORT": str(free_port()),
            "CANS_PROMETHEUS_PORT": str(free_port()),
        }


class _Running:
    """A command that goes on, and what it has written so far."""

    def __init__(self, block: Block, command: str, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._output = ""
        self._block = block
        self._command = command
        self._written = asyncio.Condition()
        self._reading = asyncio.create_task(self._read(), name=f"output of {command}")

    async def shown(self, sign: str) -> None:
        """Wait until a text stands in the output.

        Raises:
            PageFailedError: the command has ended before.
        """
        async with self._written:
            await self._written.wait_for(lambda: sign in self._output or self._reading.done())
        if sign not in self._output:
            raise self.failure(f"ended before {sign!r}")

    async def ended(self) -> int:
        """Wait for the end, and return the exit code."""
        await self._reading
        return await self._process.wait()

    async def stop(self) -> None:
        """Press Ctrl-C.

        Raises:
            PageFailedError: it does not end, or with another code than 0 and 130.
        """
        self._signal(signal.SIGINT)
        try:
            async with asyncio.timeout(GOODBYE_S):
                code = await self.ended()
        except TimeoutError:
            raise self.failure("outlives Ctrl-C") from None
        if code not in {0, 130}:
            raise self.failure(f"exit code {code}")

    async def killed(self) -> None:
        """End it at once, with whatever it has started."""
        self._signal(signal.SIGKILL)
        await self.ended()

    def failure(self, what: str) -> PageFailedError:
        """What went wrong, where, and what was written."""
        where = f"{self._block.page}:{self._block.line}"
        return PageFailedError(f"{where}: {what}\n{self._command}\n{self._output[-4000:]}")

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while piece := await self._process.stdout.read(65536):
            async with self._written:
                self._output += piece.decode(errors="replace")
                self._written.notify_all()
        async with self._written:
            self._written.notify_all()


@contextlib.asynccontextmanager
async def page_shell(folder: Path) -> AsyncIterator[PageShell]:
    """A shell whose processes are gone afterwards, whatever happened."""
    shell = PageShell(folder)
    try:
        yield shell
        await shell.end()
    finally:
        await shell.kill()
