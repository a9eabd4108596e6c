"""Who may look: a token where the page is not on loopback alone, and no other site's page anywhere.

A browser sends requests of any page to any address, also to a server on loopback: what it was told to look up
(`Host`) and on whose behalf (`Origin`) are checked for every request and every WebSocket.
"""

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from bus.address import is_loopback

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
COOKIE = "cans_dashboard"
PARAMETER = "token"


class Gate:
    """Lets requests through to an ASGI application (https://asgi.readthedocs.io).

    Args:
        app: behind it.
        token: that a reader must bring, once in the address and then in a cookie; empty for none: then only
            those are answered who ask for this machine by a name of loopback.
        cookie: its name; cookies of one host go to all its ports.
    """

    def __init__(self, app: App, token: str = "", cookie: str = COOKIE) -> None:
        self._app = app
        self._token = token
        self._name = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        host = _name_of(f"//{headers.get('host', '')}")
        if not self._token and not is_loopback(host):
            await _refuse(scope, send, 421, "this server is not called that")
        elif "origin" in headers and headers["origin"].partition("://")[2] != headers.get("host"):
            await _refuse(scope, send, 403, "another site's page may not read this one")
        elif not self._token or self._same(self._kept(headers)):
            await self._app(scope, receive, send)
        elif self._same(_asked(scope)):
            await self._remember(scope, send)
        else:
            await _refuse(
                scope, send, 401, "open the address that cans dashboard has printed, with its token"
            )

    def _kept(self, headers: dict[str, str]) -> str:
        """Return our cookie; those of others may hold anything, so each is looked at by itself."""
        for cookie in headers.get("cookie", "").split(";"):
            name, _, value = cookie.strip().partition("=")
            if name == self._name:
                return value
        return ""

    async def _remember(self, scope: Scope, send: Send) -> None:
        """Put the token into a cookie and lead to the address without it, so that it stays in no history."""
        if scope["type"] == "websocket":
            await _refuse(scope, send, 401, "")
            return
        cookie = f"{self._name}={self._token}; HttpOnly; SameSite=Strict; Path=/"
        # One slash: an address that begins with two would be another server's.
        where = "/" + quote(scope["path"].lstrip("/\\"))
        headers = [(b"location", where.encode()), (b"set-cookie", cookie.encode("latin-1"))]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def _same(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())


def _name_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _asked(scope: Scope) -> str:
    query: bytes = scope.get("query_string", b"")
    return parse_qs(query.decode("latin-1")).get(PARAMETER, [""])[0]


async def _refuse(scope: Scope, send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 4401, "reason": why})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"cans dashboard: {why}\n".encode()})
