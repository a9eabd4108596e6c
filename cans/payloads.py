"""Payloads for people: any topic's bytes as data that prints, tensors summarised.

An untyped tool on purpose: it shows what is on the wire, also when no type of ours would accept it. msgpack
decodes within limits, because a few megabytes of empty maps would become hundreds as Python objects.
"""

import json
from typing import Any

import msgpack

# What a person can read at once is far below these; they bound memory, not taste.
_LIMITS = {
    "max_str_len": 64 * 1024,
    "max_bin_len": 8 * 1024 * 1024,
    "max_array_len": 4096,
    "max_map_len": 1024,
    "max_ext_len": 0,
}
_MAX_CONTAINERS = 10_000
_MAX_JSON_BYTES = 1024 * 1024
_TENSOR_FIELDS = ("payload", "gram", "moment")


def decode_payload(payload: bytes) -> Any:  # noqa: ANN401 - whatever is on the wire
    """Return the data of a payload, JSON or msgpack; `{"undecodable": why}` for anything else."""
    if not payload:
        return None
    if payload[:1] in {b"{", b"["} and len(payload) <= _MAX_JSON_BYTES:
        try:
            return json.loads(payload)
        except (ValueError, RecursionError):
            pass  # a msgpack map or array may begin with such a byte too
    budget = _Budget()
    try:
        data = msgpack.unpackb(
            payload,
            raw=False,
            strict_map_key=False,
            object_pairs_hook=budget.spend_map,
            list_hook=budget.spend,
            ext_hook=_no_extension,
            **_LIMITS,
        )
    except (ValueError, RecursionError, msgpack.exceptions.UnpackException) as error:
        return {"undecodable": str(error) or type(error).__name__, "first_bytes": payload[:16].hex()}
    return _readable(data)


class _Budget:
    """Counts maps and arrays of one payload: an empty one is a byte on the wire and 64 in memory."""

    def __init__(self) -> None:
        self._left = _MAX_CONTAINERS

    def spend(self, container: Any) -> Any:  # noqa: ANN401 - msgpack's hook
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"more than {_MAX_CONTAINERS} maps and arrays")
        return container

    def spend_map(self, pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
        """Any value may be a key on the wire, a map too; a dict takes its text instead."""
        self.spend(pairs)
        return {_key(key): value for key, value in pairs}


def _key(key: Any) -> str:  # noqa: ANN401 - whatever is on the wire
    return key if isinstance(key, str) else str(_readable(key))


def _no_extension(code: int, data: bytes) -> Any:  # noqa: ANN401 - msgpack's hook
    """An empty extension passes `max_ext_len`; nothing of ours uses any."""
    raise ValueError(f"extension {code} of {len(data)} bytes")


def _readable(data: Any) -> Any:  # noqa: ANN401 - recursive over any decoded data
    """Replace bytes by what can be said about them in a line."""
    if isinstance(data, dict):
        return {key: _field(key, value, data) for key, value in data.items()}
    if isinstance(data, list):
        return [_readable(item) for item in data]
    return _bytes_summary(data, None) if isinstance(data, bytes) else data


def _field(name: str, value: Any, around: dict[str, Any]) -> Any:  # noqa: ANN401 - as above
    """A field of a map; tensors are described with the dtype and shape beside them."""
    if not isinstance(value, bytes):
        return _readable(value)
    if name in _TENSOR_FIELDS and isinstance(around.get("dimension"), int):
        return _bytes_summary(value, f"float64, d = {around['dimension']}")
    if name in _TENSOR_FIELDS and isinstance(around.get("shape"), list):
        sizes = "x".join(map(str, around["shape"]))
        codec = f", {around['codec']}" if "codec" in around else ""
        return _bytes_summary(value, f"{around.get('dtype')} {sizes}{codec}")
    return _bytes_summary(value, None)


def _bytes_summary(value: bytes, what: str | None) -> str:
    return f"<{len(value)} bytes{f': {what}' if what else ''}>"
