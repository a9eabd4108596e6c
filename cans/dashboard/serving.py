"""Serves the dashboard: NiceGUI behind the gate, in the event loop that listens."""

import asyncio
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from nicegui import ui

from bus.address import BrokerAddress, is_loopback
from bus.errors import ConfigurationError
from bus.topics import DEFAULT_PREFIX, topics_below
from cans.dashboard.gate import COOKIE, PARAMETER, Gate
from cans.dashboard.page import Pages
from cans.dashboard.source import Live, Recorded, Source

_TITLE = "CANS dashboard"
_LOOK_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardSettings:
    """What to show, and where.

    Attributes:
        broker, prefix: of a live site.
        recording: to show instead.
        host, port: that answer browsers; port 0 for a free one.
        token: that a browser must bring; where `host` is not loopback one is drawn if none is given.
    """

    broker: BrokerAddress
    prefix: str = DEFAULT_PREFIX
    recording: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8765
    token: str = ""

    def __post_init__(self) -> None:
        """Refuse a prefix that is none, and a token that no cookie can carry.

        Raises:
            ConfigurationError: so it is.
        """
        topics_below(self.prefix)
        if self.token and not (self.token.isascii() and self.token.isalnum() and len(self.token) >= 16):
            raise ConfigurationError("a token has 16 letters and digits or more, of ASCII")


async def run_dashboard(settings: DashboardSettings, told: Callable[[str], None] = lambda _: None) -> None:
    """Serve until cancelled.

    Raises:
        ConfigurationError: the broker cannot be reached or says no, no such recording, or the port is taken.
    """
    token = token_for(settings)
    with _listening_on(settings) as listener:
        where = f"http://{_shown(settings.host)}:{listener.getsockname()[1]}/"
        ready = partial(told, where + (f"?{PARAMETER}={token}" if token else ""))
        if settings.recording is not None:
            recorded = await asyncio.to_thread(Recorded, settings.recording)
            async with _served(_server(recorded, token, listener), listener) as serving:
                ready()
                await asyncio.shield(serving)
            return
        live = Live(settings.broker, settings.prefix)
        async with live.connected() as link, asyncio.TaskGroup() as tasks:
            tasks.create_task(live.listen(link), name="dashboard listens")
            async with _served(_server(live, token, listener), listener) as serving:
                ready()
                await asyncio.shield(serving)


@asynccontextmanager
async def _served(server: uvicorn.Server, listener: socket.socket) -> AsyncIterator[asyncio.Task[None]]:
    """Serve for the block; at its end let the server close by itself, for a cancelled one complains."""
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="dashboard serves")
    try:
        while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn tells by this flag alone
            await asyncio.sleep(_LOOK_S)
        yield serving
    finally:
        server.should_exit = True
        await serving


def token_for(settings: DashboardSettings) -> str:
    """Return what a browser must bring; where more than this machine can ask there is always something."""
    return settings.token or ("" if is_loopback(settings.host) else secrets.token_hex(16))


def _listening_on(settings: DashboardSettings) -> socket.socket:
    """Take the port before anything else, so that one that is taken is told at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except (OSError, UnicodeError) as error:
        listener.close()
        why = error.strerror if isinstance(error, OSError) else "no host name"
        raise ConfigurationError(
            f"cannot answer on {settings.host}:{settings.port}: {why}; give another --host or --port"
        ) from None
    return listener


def _server(source: Source, token: str, listener: socket.socket) -> uvicorn.Server:
    api = FastAPI(title=_TITLE, docs_url=None, redoc_url=None, openapi_url=None)
    ui.run_with(api, root=Pages(source).root, title=_TITLE, language="en-US")
    gate = Gate(api, token, f"{COOKIE}_{listener.getsockname()[1]}")
    config = uvicorn.Config(
        gate,
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=1,
        ws_max_size=1 << 20,
    )
    return _Server(config)


class _Server(uvicorn.Server):
    """One that leaves signals to `cans.running`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def _shown(host: str) -> str:
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
