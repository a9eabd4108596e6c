"""The inventory of a testbed on hardware: where its broker is, which devices there are, who runs the rest.

Example:
    prefix = "cans/testbed"        # first levels of every topic; cans/testbed when not given
    edge = "here"                  # or "running": started by somebody else
    aggregator = "here"            # the same

    [broker]
    url = "mqtt://laptop.local:1883"
    # ca, cert, key, password_file as for every command; files are looked for beside the inventory

    [[devices]]
    id = "cam-1"
    type = "camera"                # one of the experiment's
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bus.address import BrokerAddress
from bus.errors import ConfigurationError, LocalProtocolError
from bus.names import require_name
from bus.topics import Role, Topics
from cans.shared_options import broker_address
from cans.testbed.ground import PREFIX

# A player's name on the bus is the device's with its policy and repetition behind it.
_LONGEST_ID = 32

Where = Literal["here", "running"]


class _Broker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str = ""
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    password_file: str | None = None


class _Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    type: str


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    devices: Annotated[tuple[_Device, ...], Meta(min_length=1)]
    broker: _Broker = _Broker()
    prefix: str = PREFIX
    edge: Where = "here"
    aggregator: Where = "here"


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is there.

    Attributes:
        broker: where the coordinator reaches it, and all that is started here.
        login: the flags with which a command started here logs in; its URL is not among them.
        prefix: of all topics.
        running: roles that somebody else has started: "edge", "aggregator".
        ids: the devices' names by type, in the file's order.
        text: of the file.
    """

    broker: BrokerAddress
    login: tuple[str, ...]
    prefix: str
    running: frozenset[str]
    ids: Mapping[str, Sequence[str]]
    text: str


def read_inventory(path: Path, broker: str | None = None) -> Inventory:
    """Read an inventory.

    Args:
        path: the TOML file.
        broker: URL that takes the place of its own; None for that.

    Raises:
        ConfigurationError: no such file, no inventory, no broker, a device that is named twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found = msgspec.convert(tomllib.loads(text), _File)
        Topics(found.prefix)
    except OSError as error:
        raise ConfigurationError(f"cannot read the inventory {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from None
    except (msgspec.ValidationError, LocalProtocolError) as error:
        raise ConfigurationError(f"{path} is no inventory: {error}") from None
    try:
        return _inventory(found, path, broker, text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def _inventory(found: _File, path: Path, broker: str | None, text: str) -> Inventory:
    url = broker or found.broker.url
    if not url:
        raise ConfigurationError("no broker: write [broker] with its url, or give --broker")
    files = {
        name: path.parent / value
        for name, value in msgspec.structs.asdict(found.broker).items()
        if name != "url" and value is not None
    }
    address = broker_address(url, **files)
    running = frozenset(
        role for role in (Role.EDGE.value, Role.AGGREGATOR.value) if getattr(found, role) == "running"
    )
    _require_own_logins(found.broker, address, running)
    login = [part for name, file in files.items() for part in (f"--{name.replace('_', '-')}", str(file))]
    return Inventory(address, tuple(login), found.prefix, running, _by_type(found.devices), text)


def _require_own_logins(broker: _Broker, address: BrokerAddress, running: frozenset[str]) -> None:
    """Refuse to start roles under the coordinator's name: a broker with an ACL would drop all they say."""
    named = broker.cert is not None or (address.username or "").startswith(f"{Role.COORDINATOR.value}/")
    if named and running != {Role.EDGE.value, Role.AGGREGATOR.value}:
        raise ConfigurationError(
            "this broker knows the coordinator by name, and edge worker and aggregator have names of their "
            "own: start both yourself, with theirs, and write edge = 'running' and aggregator = 'running'"
        )


def _by_type(devices: Sequence[_Device]) -> dict[str, list[str]]:
    ids: dict[str, list[str]] = {}
    seen: set[str] = set()
    for device in devices:
        require_name(device.id, "device id")
        if len(device.id) > _LONGEST_ID:
            raise ConfigurationError(
                f"device id {device.id!r} is too long: {_LONGEST_ID} characters at most, policies add theirs"
            )
        if device.id in seen:
            raise ConfigurationError(f"the device {device.id!r} is named twice: each has an id of its own")
        seen.add(device.id)
        ids.setdefault(device.type, []).append(device.id)
    return ids
