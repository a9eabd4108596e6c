"""Where a device keeps what it has learnt: one file for each id, type, model and context schema.

Another network or another type is another install: its numbers and statistics have nothing in common, so
they must not share a file.
"""

import secrets
from pathlib import Path
from typing import Any

from bus.errors import ConfigurationError
from bus.snapshot import read_snapshot
from device.plan import Identity, Plan
from device.state_bytes import decode_state


def state_path(folder: Path, device: str, device_type: str, plan: Plan) -> Path:
    """Return the file of that device under that plan."""
    return folder / f"device-{device}-{device_type}-{plan.model}-{plan.schema}.state"


def open_state(
    path: Path | None, device: str, device_type: str, *, emulated: bool = False
) -> tuple[Identity, dict[str, Any] | None]:
    """Return who the device is this time, and what it had learnt.

    Args:
        path: of the state file, or None to forget everything at the end.
        device: its id.
        device_type: its declared type.
        emulated: said in feedback.

    Raises:
        ConfigurationError: the folder cannot be made, or the file is damaged.
    """
    state = None
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"cannot make the folder {path.parent}: {error.strerror}; give another --state-dir"
            ) from None
        payload = read_snapshot(path)
        state = None if payload is None else decode_state(payload)
    if state is None:
        return Identity(device, device_type, secrets.token_hex(8), 1, emulated), None
    try:
        install, boot = str(state["install"]), int(state["boot"]) + 1
    except (KeyError, TypeError, ValueError):
        raise ConfigurationError(f"{path} is no state of a device: move it away to start afresh") from None
    return Identity(device, device_type, install, boot, emulated), state
