"""Who may look at a dashboard: by token, by the name that the server has, and never another site's page."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from bus.address import is_loopback
from cans.dashboard.gate import COOKIE, Gate

TOKEN = "0123456789abcdef"


async def _passed(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    del receive
    await send({"type": "passed", "status": 200, "scope": scope["type"]})


def _ask(
    gate: Gate, *, kind: str = "http", path: str = "/devices", query: str = "", **headers: str
) -> list[MutableMapping[str, Any]]:
    said: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        said.append(message)

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("it has nothing to read")

    listed = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": kind, "path": path, "query_string": query.encode(), "headers": listed}

    async def ask() -> None:
        await gate(scope, receive, send)

    asyncio.run(ask())
    return said


def _status(gate: Gate, **more: Any) -> int:
    said = _ask(gate, **more)
    return int(said[0].get("status", said[0].get("code", 0)))


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8765", 200),
        ("localhost:8765", 200),
        ("[::1]:8765", 200),
        ("board.lan:8765", 421),
        ("evil.example", 421),  # a name that somebody has led here
        ("", 421),
        ("[bad", 421),
    ],
)
def test_without_a_token_only_names_of_this_server_are_answered(host: str, status: int) -> None:
    gate = Gate(_passed)
    assert _status(gate, host=host) == status
    assert (_status(gate, kind="websocket", host=host) == 200) is (status == 200)


def test_another_sites_page_may_not_listen() -> None:
    gate = Gate(_passed)
    for kind, status in (("http", 403), ("websocket", 4401)):
        assert _status(gate, kind=kind, host="localhost:1", origin="https://evil.example") == status
        assert _status(gate, kind=kind, host="localhost:1", origin="http://localhost:1") == 200
        for odd in ("null", "http://[", ""):
            assert _status(gate, kind=kind, host="localhost:1", origin=odd) == status


def test_a_token_is_asked_for_once_and_then_lies_in_a_cookie() -> None:
    gate = Gate(_passed, TOKEN)
    assert _status(gate, host="any.where") == 401
    assert _status(gate, host="any.where", query="token=wrong") == 401
    (start, _) = _ask(gate, host="any.where", query=f"token={TOKEN}")
    headers = dict(start["headers"])
    assert (start["status"], headers[b"location"]) == (303, b"/devices")
    assert b"HttpOnly" in headers[b"set-cookie"]
    assert b"SameSite=Strict" in headers[b"set-cookie"]
    cookie = headers[b"set-cookie"].decode().split(";")[0]
    for kind in ("http", "websocket"):
        assert _status(gate, kind=kind, host="any.where", cookie=cookie) == 200
        assert _status(gate, kind=kind, host="any.where", cookie=f"{COOKIE}=wrong") in {401, 4401}
    assert _status(gate, kind="websocket", host="any.where", query=f"token={TOKEN}") == 4401


@pytest.mark.parametrize("others", ['foo={"a":1}', "x", "a b=1", 'a="b,c', COOKIE + "_other=1"])
def test_cookies_of_others_may_hold_anything(others: str) -> None:
    gate = Gate(_passed, TOKEN)
    assert _status(gate, host="h", cookie=f"{others}; {COOKIE}={TOKEN}") == 200
    assert _status(gate, host="h", cookie=f"{COOKIE}={TOKEN}; {others}") == 200


def test_two_dashboards_of_one_host_keep_their_cookies_apart() -> None:
    assert _status(Gate(_passed, TOKEN, "a"), host="h", cookie=f"b=other; a={TOKEN}") == 200
    assert _status(Gate(_passed, TOKEN, "b"), host="h", cookie=f"a={TOKEN}") == 401


@pytest.mark.parametrize("path", ["//evil.example/", "/\\\\evil.example", "///evil.example"])
def test_a_token_leads_nowhere_else(path: str) -> None:
    (start, _) = _ask(Gate(_passed, TOKEN), path=path, host="h", query=f"token={TOKEN}")
    location = dict(start["headers"])[b"location"]
    assert location.startswith(b"/")
    assert not location.startswith((b"//", b"/\\"))


def test_what_is_neither_request_nor_socket_passes() -> None:
    assert _status(Gate(_passed, TOKEN), kind="lifespan") == 200


@pytest.mark.parametrize("host", ["localhost", "127.0.0.9", "::1"])
def test_loopback_is_known_by_name_and_number(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["192.168.1.4", "0.0.0.0", "board.lan", ""])
def test_nothing_else_is_loopback(host: str) -> None:
    assert not is_loopback(host)
