"""A broker as a child process: mosquitto where it is installed, amqtt where not.

Ready within milliseconds, on a free port if asked, its log handed on line by line, ended by its own
process id. Tests and the demo use it as they are; `cans/broker/run.py` runs one for a person.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import msgspec

from bus.address import BrokerAddress
from bus.errors import ConfigurationError
from bus.topics import DEFAULT_PREFIX, Topics
from cans.broker.acl import parse_identity
from cans.broker.certificates import provision
from cans.broker.files import CONFIGS, render
from cans.broker.places import free_port, reachable, require_free, require_writable, unwritable
from cans.broker.provisioning import remember, remembered, require_prefix, revoked_among
from cans.site_processes import started_by

Engine = Literal["mosquitto", "amqtt"]

# glibc hands large buffers back to the system at each free, and each activation of 1 MB that passes the
# broker then costs 1 ms of page faults: more than all else. Below 64 MiB memory is kept instead.
KEEP_LARGE_BUFFERS = {"MALLOC_MMAP_THRESHOLD_": "16777216", "MALLOC_TRIM_THRESHOLD_": "67108864"}
_READY_TIMEOUT_S = 20.0
_END_TIMEOUT_S = 5.0
_POLL_S = 0.002
_FOLLOW_S = 1.0
# Between our look for a free port and the broker's bind somebody else may take it.
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """What broker to run.

    Attributes:
        config: `dev` (loopback, anonymous), `secure` (TLS, client certificates) or `password` (TLS,
            `passwords` in the state folder).
        port: 0 for any free one.
        state_dir: messages, certificates, ACL; a temporary folder, removed at the end, when None.
        engine: `auto` prefers mosquitto.
        identities: `device/TYPE/ID`, `edge/ID`, `aggregator/ID`, `watcher/ID`, for the secure ones.
        server_names: names that clients use for this host, for its certificate.
        prefix: of all topics, for the ACL.
        lab_prefix: of a testbed's topics, for the ACL too; None where none may play.
    """

    config: str = "dev"
    host: str = "127.0.0.1"
    port: int = 1883
    state_dir: Path | None = None
    engine: Literal["auto", "mosquitto", "amqtt"] = "auto"
    identities: tuple[str, ...] = ()
    server_names: tuple[str, ...] = ()
    prefix: str = DEFAULT_PREFIX
    lab_prefix: str | None = None


def find_mosquitto() -> str | None:
    """Return mosquitto's path; Debian keeps it where a user's PATH does not look."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def to_stderr(line: str) -> None:
    """Print a line where it does not mix with results."""
    print(line, file=sys.stderr, flush=True)


class BrokerProcess:
    """A running broker; an asynchronous context manager.

    Args:
        settings: which.
        on_line: takes each line for people, prefixed with the engine's name; stderr when not given.

    Attributes:
        engine: what runs. port: where. state_dir: its folder.

    Raises:
        ConfigurationError: on entry, in a sentence: port taken, folder not writable, unknown
            configuration, configuration refused by mosquitto.
    """

    def __init__(self, settings: BrokerSettings, on_line: Callable[[str], None] = to_stderr) -> None:
        self.engine: Engine = "mosquitto"
        self.port = settings.port
        self.state_dir = settings.state_dir or Path()
        self._settings = settings
        self._on_line = on_line
        self._last_lines: deque[str] = deque(maxlen=20)
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @property
    def pid(self) -> int:
        """Process id of the broker."""
        assert self._process is not None
        return self._process.pid

    @property
    def address(self) -> BrokerAddress:
        """Where to connect; a secure broker also asks for a certificate, see `address_of`."""
        secure = self._settings.config != "dev"
        ca = self.state_dir / "ca" / "ca.pem" if secure else None
        return BrokerAddress(reachable(self._settings.host), self.port, tls=secure, ca=ca)

    def address_of(self, identity: str) -> BrokerAddress:
        """Where and how an identity of a secure broker connects."""
        folder = self.state_dir / "identities" / identity
        return BrokerAddress(
            reachable(self._settings.host),
            self.port,
            tls=True,
            ca=self.state_dir / "ca" / "ca.pem",
            certificate=folder / "certificate.pem",
            key=folder / "key.pem",
        )

    async def __aenter__(self) -> Self:
        try:
            await self._prepare()
            await self._start()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()
        if self._temporary is not None:
            self._temporary.cleanup()

    async def _prepare(self) -> None:
        """Choose the engine, make folder and certificates."""
        settings = self._settings
        if settings.config not in CONFIGS:
            raise ConfigurationError(
                f"there is no broker configuration {settings.config!r}: choose {' or '.join(CONFIGS)}"
            )
        for text in settings.identities:
            parse_identity(text)
        self.engine = _choose(settings)
        if settings.state_dir is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="cans-broker-")
            self.state_dir = Path(self._temporary.name)
        await asyncio.to_thread(require_writable, self.state_dir)
        if settings.config != "dev":
            require_prefix(self.state_dir, settings.prefix)
            gone = revoked_among(self.state_dir, settings.identities)
            for name in gone:
                self._on_line(f"{name} was revoked: not made again; cans provision add, if that is meant")
            about = remembered(self.state_dir)
            about = msgspec.structs.replace(about, prefix=settings.prefix, lab_prefix=settings.lab_prefix)
            await asyncio.to_thread(
                provision,
                self.state_dir,
                identities=[name for name in settings.identities if name not in gone],
                server_names=(*settings.server_names, reachable(settings.host)),
                topics=Topics(settings.prefix),
                lab=None if about.lab_prefix is None else Topics(about.lab_prefix),
            )
            remember(self.state_dir, about)
        if settings.config == "password" and not (self.state_dir / "passwords").is_file():
            raise ConfigurationError(
                f"{self.state_dir / 'passwords'} is missing: make it with `mosquitto_passwd -c "
                f"{self.state_dir / 'passwords'} device/TYPE/ID`, then add the others without -c"
            )

    async def _start(self) -> None:
        settings = self._settings
        for attempt in range(_ATTEMPTS):
            self.port = settings.port or free_port(settings.host)
            if settings.port:
                require_free(settings.host, settings.port)
            try:
                await self._launch()
            except ConfigurationError:
                taken = any("in use" in line for line in self._last_lines)
                if settings.port or not taken or attempt == _ATTEMPTS - 1:
                    raise
            else:
                return

    async def restart(self) -> None:
        """Start it again on the same port with the same state, after `stop` or `kill`."""
        assert self._process is None
        await self._launch()

    async def _launch(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *await asyncio.to_thread(self._command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Ctrl-C goes to a whole process group: the broker must outlive the roles' goodbyes.
            start_new_session=True,
            env={**os.environ, **KEEP_LARGE_BUFFERS, **started_by()},
        )
        self._reader = asyncio.create_task(self._read_log(self._process), name="broker log")
        try:
            async with asyncio.timeout(_READY_TIMEOUT_S):
                await self._until_ready(self._process)
        except TimeoutError:
            await self.stop()
            raise ConfigurationError(f"{self.engine} did not get ready: {self._complaint()}") from None

    def _command(self) -> list[str]:
        host, port = self._settings.host, self.port
        if self.engine == "amqtt":
            return [sys.executable, "-m", "cans.broker.amqtt", host, str(port)]
        path = self.state_dir / "mosquitto.conf"
        text = render(self._settings.config, host=host, port=port, state_dir=self.state_dir)
        try:
            path.write_text(text)
        except OSError as error:
            raise unwritable(self.state_dir, error) from None
        executable = find_mosquitto()
        assert executable is not None
        return [executable, "-c", str(path)]

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        """Hand its log on. It is read to its end whatever happens: a full pipe would stop the broker."""
        assert process.stdout is not None
        heard = True
        while raw := await _line(process.stdout):
            line = raw.decode(errors="replace").rstrip()
            self._last_lines.append(line)
            try:
                if heard:
                    self._on_line(f"{self.engine}: {line}")
            except (OSError, ValueError):
                heard = False  # stderr is closed, or the disk is full: nobody is left to tell

    async def _until_ready(self, process: asyncio.subprocess.Process) -> None:
        host = reachable(self._settings.host)
        while True:
            if process.returncode is not None:
                assert self._reader is not None
                await self._reader
                await self.stop()
                raise ConfigurationError(f"{self.engine} did not start: {self._complaint()}")
            try:
                _, writer = await asyncio.open_connection(host, self.port)
            except OSError:
                await asyncio.sleep(_POLL_S)
            else:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
                return

    def _complaint(self) -> str:
        """The line of its log that says what is wrong."""
        lines = [line for line in self._last_lines if "rror" in line] or list(self._last_lines)
        return " ".join(lines[:2]) if lines else "it said nothing"

    async def wait(self) -> int:
        """Wait until the broker ends by itself; return its exit code."""
        assert self._process is not None
        return await self._process.wait()

    async def follow(self) -> None:
        """Tell the broker of changes of who may connect and what, for ever: `cans provision` makes them."""
        watched = [self.state_dir / "acl", self.state_dir / "ca" / "crl.pem", self.state_dir / "passwords"]
        seen = _stamps(watched)
        while True:
            await asyncio.sleep(_FOLLOW_S)
            now = _stamps(watched)
            if now != seen and self._process is not None:
                seen = now
                with contextlib.suppress(ProcessLookupError):
                    self._process.send_signal(signal.SIGHUP)

    async def stop(self) -> None:
        """End it cleanly, so that it saves what it holds; harmless if it has ended."""
        await self._end(kill=False)

    async def kill(self) -> None:
        """End it as a crash does (SIGKILL)."""
        await self._end(kill=True)

    async def _end(self, *, kill: bool) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if kill:
                process.kill()
            else:
                process.terminate()
        try:
            async with asyncio.timeout(_END_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        if self._reader is not None:
            await self._reader


async def _line(stream: asyncio.StreamReader) -> bytes:
    """Return the next line, or what fits the buffer of one that is longer; b"" at the end."""
    try:
        return await stream.readuntil(b"\n")
    except asyncio.IncompleteReadError as end:
        return end.partial
    except asyncio.LimitOverrunError as overrun:
        return await stream.readexactly(overrun.consumed)


def _stamps(paths: list[Path]) -> list[tuple[int, int, int]]:
    """Return what changes when a file is written anew; zeros for one that is not there."""
    found = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            found.append((0, 0, 0))
        else:
            found.append((status.st_mtime_ns, status.st_ino, status.st_size))
    return found


def _choose(settings: BrokerSettings) -> Engine:
    if settings.engine == "amqtt" or (settings.engine == "auto" and find_mosquitto() is None):
        if settings.config != "dev":
            raise ConfigurationError(
                f"the {settings.config} configuration needs mosquitto: install it (apt install mosquitto)"
            )
        return "amqtt"
    if find_mosquitto() is None:
        raise ConfigurationError("mosquitto is not installed: apt install mosquitto, or use engine auto")
    return "mosquitto"
