"""A session's state as bytes and back: primitives and float64 arrays, to the bit.

Arrays become ``{"f8": [shape], "le": bytes}``. The bytes come from our own disk and were checked by
`bus.snapshot`, so what does not decode is a damaged file and not a peer's fault.
"""

from typing import Any

import msgspec
import numpy as np

from bus.errors import ConfigurationError


def encode_state(state: dict[str, Any]) -> bytes:
    """Return the bytes of nested dicts and lists of str, int, float, bool, None and float64 arrays.

    Raises:
        TypeError: anything else.
    """
    return msgspec.msgpack.encode(state, enc_hook=_encode_array)


def decode_state(payload: bytes) -> dict[str, Any]:
    """Return what `encode_state` was given; tuples come back as lists.

    Raises:
        ConfigurationError: not the bytes of a state.
    """
    try:
        state = _restore(msgspec.msgpack.decode(payload))
    except (msgspec.DecodeError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ConfigurationError(
            f"the device's saved state cannot be read ({error}): move the file away to start afresh"
        ) from None
    if not isinstance(state, dict):
        raise ConfigurationError("the device's saved state is not one: move the file away to start afresh")
    return state


def _encode_array(value: object) -> dict[str, Any]:
    if not isinstance(value, np.ndarray) or value.dtype != np.float64:
        raise TypeError(f"a state holds no {type(value).__name__}")
    return {"f8": list(value.shape), "le": np.ascontiguousarray(value, dtype="<f8").tobytes()}


def _restore(value: object) -> Any:  # noqa: ANN401 - JSON-like
    if isinstance(value, list):
        return [_restore(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"f8", "le"}:
        return np.frombuffer(value["le"], dtype="<f8").reshape(value["f8"]).astype(np.float64)
    return {key: _restore(item) for key, item in value.items()}
