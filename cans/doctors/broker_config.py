"""A mosquitto configuration file, read as mosquitto reads it: what it would lose, hold back or let in.

A broker does not tell of most of this over MQTT. Options and their defaults: mosquitto.conf(5), 2.0 and 2.1.
"""

import os
import pwd
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bus.address import is_loopback
from bus.errors import ConfigurationError
from bus.topics import INFER, MIB
from cans.doctors.findings import Finding, informs

_LARGEST_BYTES = INFER.limit_bytes
# What a stopped subscriber may cost the broker at most before it is a fault.
_MOST_HELD_BYTES = 256 * MIB
_ROOT = "`user root` (only where nobody else runs on that machine)"
# How long what is retained and queued may be unsaved.
_UNSAVED_S = 10
_AUTOSAVE_S = 1800
_QUEUED = 1000
# Each opens a section: what follows belongs to it where `per_listener_settings` is true, and TLS always.
_OPENING = ("listener", "port")
_PER_LISTENER = ("allow_anonymous", "acl_file", "password_file", "plugin", "auth_plugin")
_DEEPEST = 4


@dataclass(slots=True)
class _Listener:
    """One place where it listens. Attributes: host: empty for all. said: options of its section."""

    host: str
    port: str
    said: dict[str, str] = field(default_factory=dict)

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.port == "0" or is_loopback(self.host)  # port 0 is a Unix socket

    @property
    def name(self) -> str:
        return f"{self.host or 'every address'}:{self.port}" if self.port != "0" else self.host

    @property
    def encrypted(self) -> bool:
        return "certfile" in self.said or "psk_hint" in self.said


@dataclass(slots=True)
class _Config:
    """Attributes: said: options outside of listeners; the last one counts, as in mosquitto."""

    said: dict[str, str] = field(default_factory=dict)
    listeners: list[_Listener] = field(default_factory=list)

    def asked(self, listener: _Listener, option: str, default: str = "") -> str:
        """Return what holds at a listener."""
        if self.said.get("per_listener_settings") == "true":
            return listener.said.get(option, default)
        return self.said.get(option, listener.said.get(option, default))


def examine(path: Path) -> list[Finding]:
    """Read a configuration with all that it includes.

    Raises:
        ConfigurationError: it cannot be read.
    """
    config = _Config()
    for option, value in _lines(path, 0):
        _take(config, option, value)
    if not config.listeners:
        # Without any, mosquitto listens on loopback alone and lets everybody in.
        config.listeners.append(_Listener("127.0.0.1", "1883", {"allow_anonymous": "true"}))
    said = config.said
    return [
        *_persistence(said),
        *_sizes(said),
        *_queues(said),
        *_speed(said),
        *_doors(config),
    ]


def _lines(path: Path, depth: int) -> Iterator[tuple[str, str]]:
    """Yield options and what they are set to, those of included folders in their place."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(f"cannot read {path}: {why}") from None
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        option, value = (*line.split(maxsplit=1), "")[:2]
        if option == "include_dir" and depth < _DEEPEST:
            # In the order in which mosquitto takes them.
            for each in sorted(Path(value.strip()).glob("*.conf")):
                yield from _lines(each, depth + 1)
            continue
        yield option, value.strip()


def _take(config: _Config, option: str, value: str) -> None:
    if option in _OPENING:
        port, _, host = value.partition(" ")
        config.listeners.append(_Listener(host.strip(), port))
        return
    if config.listeners:
        config.listeners[-1].said[option] = value
        if config.said.get("per_listener_settings") == "true" and option in _PER_LISTENER:
            return
    config.said[option] = value


def _persistence(said: Mapping[str, str]) -> Iterator[Finding]:
    kept = said.get("persistence") == "true"
    mend = "a restart forgets who is ready, what groups have learned and what is queued: persistence true, "
    mend += "persistence_location, autosave_on_changes true, autosave_interval 1"
    yield informs("what outlives a restart", ok=kept, found="saved" if kept else "nothing", mend=mend)
    if not kept:
        return
    interval = _number(said, "autosave_interval", _AUTOSAVE_S)
    each_change = said.get("autosave_on_changes") == "true"
    mend = (
        "a power cut loses what was retained and queued since: autosave_on_changes true, autosave_interval 1"
    )
    if interval == 0:
        yield informs("how often it is saved", ok=False, found="when the broker ends well, only", mend=mend)
        return
    changes = "each change" if interval == 1 else f"{interval} changes"
    found = f"after {changes}" if each_change else f"every {interval} s"
    yield informs("how often it is saved", ok=interval <= _UNSAVED_S, found=found, mend=mend)
    where = said.get("persistence_location", "")
    mend = "it is saved wherever the broker is started: persistence_location, a folder of the broker's own"
    wrong = _unwritable(Path(where), said.get("user", "mosquitto")) if where else ""
    if wrong:
        mend = f"a mosquitto that root starts becomes a user that cannot write there: chown it, or {_ROOT}"
    found = f"{where}, {wrong}" if wrong else where or "not said"
    yield informs("where it is saved", ok=bool(where) and not wrong, found=found, mend=mend)


def _unwritable(folder: Path, user: str) -> str:
    """Return why that user cannot save in a folder; empty where he can, or nobody can tell from here."""
    try:
        found, uid = folder.stat(), pwd.getpwnam(user).pw_uid
    except FileNotFoundError:
        return "which is not there"
    except (KeyError, OSError):
        return ""  # no such user here, or a folder that is not ours to look at
    # What is somebody else's than root's belongs to whoever starts the broker, who stays himself.
    if uid == 0 or found.st_uid != 0 or found.st_mode & stat.S_IWOTH:
        return ""
    groups = os.getgrouplist(user, pwd.getpwnam(user).pw_gid)
    return "" if found.st_gid in groups and found.st_mode & stat.S_IWGRP else f"not {user}'s"


def _sizes(said: Mapping[str, str]) -> Iterator[Finding]:
    mend = f"arms that send more are never played: max_packet_size {8 * MIB}"
    limits = {name: _number(said, name, 0) for name in ("max_packet_size", "message_size_limit")}
    found = ", ".join(f"{name} {limit}" for name, limit in limits.items() if limit)
    well = all(limit == 0 or limit >= _LARGEST_BYTES for limit in limits.values())
    if "max_packet_size" not in said:
        found = found or "not said: none in 2.0, 2000000 bytes from 2.1 on"
        well = False
    yield informs("the largest packet", ok=well, found=found or "no limit", mend=mend)
    mend = "nobody who comes later hears who is ready and what was learned: retain_available true"
    kept = said.get("retain_available", "true") == "true"
    yield informs("retained messages", ok=kept, found="kept" if kept else "refused", mend=mend)


def _queues(said: Mapping[str, str]) -> Iterator[Finding]:
    count = _number(said, "max_queued_messages", _QUEUED)
    size = _number(said, "max_queued_bytes", 0)
    worst = min(size or count * _LARGEST_BYTES, count * _LARGEST_BYTES) if count else size
    found = f"up to {worst / MIB:.0f} MiB" if worst else "everything"
    mend = "a subscriber that stops reading costs the broker its memory: max_queued_messages 50, "
    mend += f"max_queued_bytes {64 * MIB}"
    yield informs(
        "what is held for one who reads slowly", ok=0 < worst <= _MOST_HELD_BYTES, found=found, mend=mend
    )
    expiry = said.get("persistent_client_expiration", "")
    mend = "devices that never come back are queued for forever: persistent_client_expiration 7d"
    yield informs(
        "sessions of those who are gone", ok=bool(expiry), found=expiry or "kept for ever", mend=mend
    )


def _speed(said: Mapping[str, str]) -> Iterator[Finding]:
    quick = said.get("set_tcp_nodelay") == "true"
    mend = "Nagle's algorithm holds small packets back, 40 ms and more: set_tcp_nodelay true"
    found = "sent at once" if quick else "may be held back"
    yield informs("small packets", ok=quick, found=found, mend=mend)


def _doors(config: _Config) -> Iterator[Finding]:
    """Say who gets in, and what he may do there."""
    outside = [each for each in config.listeners if not each.local]
    plain = [each.name for each in outside if not each.encrypted]
    found = _names(plain) if plain else "nowhere beyond this machine"
    mend = (
        "pictures, activations and passwords are readable on the way: certfile and keyfile (cans provision)"
    )
    yield informs("in clear on the network", ok=not plain, found=found, mend=mend)
    anyone = [each.name for each in outside if config.asked(each, "allow_anonymous", "false") == "true"]
    found = _names(anyone) if anyone else "nowhere beyond this machine"
    mend = "everybody who reaches it is let in: allow_anonymous false, and certificates or passwords"
    yield informs("open to everybody", ok=not anyone, found=found, mend=mend)
    free = [each.name for each in outside if not _ruled(config, each)]
    found = _names(free) if free else "nowhere beyond this machine"
    mend = "any device may speak as any other: acl_file, as cans provision writes it"
    yield informs("without access rules", ok=not free, found=found, mend=mend)


def _ruled(config: _Config, listener: _Listener) -> bool:
    plugins = ("plugin", "auth_plugin", "acl_file")
    return any(config.asked(listener, option) for option in plugins)


def _number(said: Mapping[str, str], option: str, default: int) -> int:
    """Return an option's number; the default's where mosquitto would refuse it."""
    word = said.get(option, "")
    return int(word) if word.isdecimal() else default


def _names(found: Sequence[str]) -> str:
    return ", ".join(found)
