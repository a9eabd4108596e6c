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
# What is of one listener where `per_listener_settings` is true, and of all where it is not.
_PER_LISTENER = ("allow_anonymous", "acl_file", "password_file", "plugin", "auth_plugin")
_RULES = ("acl_file", "plugin", "auth_plugin")
# Says who somebody is, and nothing of what he may do.
_NO_RULES = "password_file"


@dataclass(slots=True)
class _Listener:
    """One place where it listens. Attributes: host: empty for all. said: options of its section."""

    host: str = ""
    port: str = "1883"
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
    """A configuration as it is read, line by line.

    Attributes:
        said: options, wherever they stand; the last one counts, as in mosquitto.
        first: the listener that is there without a line `listener`. opened: whether anything asks for it.
        listeners: the others. now: whose section it is.
    """

    said: dict[str, str] = field(default_factory=dict)
    first: _Listener = field(default_factory=_Listener)
    opened: bool = False
    listeners: list[_Listener] = field(default_factory=list)
    now: _Listener = field(init=False)

    def __post_init__(self) -> None:
        self.now = self.first

    def take(self, option: str, value: str) -> None:
        """Take in a line."""
        words = value.partition("#")[0].split()
        if option == "listener" and words:
            self.now = _Listener(words[1] if len(words) > 1 else "", words[0])
            self.listeners.append(self.now)
        elif option == "port":
            self.first.port, self.opened = value, True
        elif option == "bind_address":
            self.first.host, self.opened = value, True
        else:
            self.now.said[option] = value
            if not (_yes(self.said, "per_listener_settings") and option in _PER_LISTENER):
                self.said[option] = value

    def everywhere(self) -> list[_Listener]:
        """Return where it listens."""
        if self.opened or self.first.encrypted:
            return [self.first, *self.listeners]
        # Without any, mosquitto listens on loopback alone, and lets everybody in.
        return self.listeners or [_Listener("127.0.0.1")]

    def of(self, listener: _Listener) -> Mapping[str, str]:
        """Return what says who gets in at a listener."""
        return listener.said if _yes(self.said, "per_listener_settings") else self.said


def examine(path: Path) -> list[Finding]:
    """Read a configuration with all that it includes.

    Raises:
        ConfigurationError: it cannot be read, or mosquitto would not.
    """
    config = _Config()
    for option, value in _lines(path):
        if option != "include_dir":
            config.take(option, value)
            continue
        outer = config.now
        for each in _included(path, Path(value)):
            config.now = config.first  # each file begins so
            for line in _lines(each):
                config.take(*line)
        config.now = outer
    said = config.said
    return [
        *_persistence(said),
        *_sizes(said),
        *_queues(said),
        *_speed(said),
        *_doors(config),
    ]


def _included(path: Path, folder: Path) -> list[Path]:
    """Return the files of a folder in the order in which mosquitto takes them."""
    if not folder.is_dir():
        raise ConfigurationError(f"{path} includes {folder}, which is no folder: mosquitto does not start")
    return sorted(folder.glob("*.conf"), key=lambda each: (each.name.lower(), each.name))


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield options and what they are set to."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(f"cannot read {path}: {why}") from None
    for line in text.splitlines():
        option, _, value = line.strip().partition(" ")
        if not option or option.startswith("#"):
            continue
        if "\t" in option:
            raise ConfigurationError(
                f"{path}: a tab is behind {option.split()[0]}: mosquitto 2.0 wants a space"
            )
        yield option, value.strip()


def _yes(said: Mapping[str, str], option: str, default: str = "false") -> bool:
    return said.get(option, default) in {"true", "1"}


def _persistence(said: Mapping[str, str]) -> Iterator[Finding]:
    kept = _yes(said, "persistence")
    mend = "a restart forgets who is ready, what groups have learned and what is queued: persistence true, "
    mend += "persistence_location, autosave_on_changes true, autosave_interval 1"
    yield informs("what outlives a restart", ok=kept, found="saved" if kept else "nothing", mend=mend)
    if not kept:
        return
    interval = _number(said, "autosave_interval", _AUTOSAVE_S)
    each_change = _yes(said, "autosave_on_changes")
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
        found, who = folder.stat(), _account(user)
    except FileNotFoundError:
        return "which is not there"
    except (KeyError, OSError):
        return ""  # no such user here, or a folder that is not ours to look at
    # What is somebody else's than root's belongs to whoever starts the broker, who stays himself.
    if who.pw_uid == 0 or found.st_uid != 0 or found.st_mode & stat.S_IWOTH:
        return ""
    groups = os.getgrouplist(who.pw_name, who.pw_gid)
    return "" if found.st_gid in groups and found.st_mode & stat.S_IWGRP else f"not {who.pw_name}'s"


def _account(user: str) -> pwd.struct_passwd:
    """Return who a mosquitto becomes; where there is no user of its own, it takes another."""
    try:
        return pwd.getpwnam(user)
    except KeyError:
        if user != "mosquitto":
            raise
        return pwd.getpwnam("nobody")


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
    kept = _yes(said, "retain_available", "true")
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
    quick = _yes(said, "set_tcp_nodelay")
    mend = "Nagle's algorithm holds small packets back, 40 ms and more: set_tcp_nodelay true"
    found = "sent at once" if quick else "may be held back"
    yield informs("small packets", ok=quick, found=found, mend=mend)


def _doors(config: _Config) -> Iterator[Finding]:
    """Say who gets in, and what he may do there."""
    outside = [each for each in config.everywhere() if not each.local]
    plain = [each.name for each in outside if not each.encrypted]
    found = _names(plain) if plain else "nowhere beyond this machine"
    mend = (
        "pictures, activations and passwords are readable on the way: certfile and keyfile (cans provision)"
    )
    yield informs("in clear on the network", ok=not plain, found=found, mend=mend)
    anyone = [each.name for each in outside if _yes(config.of(each), "allow_anonymous")]
    found = _names(anyone) if anyone else "nowhere beyond this machine"
    mend = "everybody who reaches it is let in: allow_anonymous false, and certificates or passwords"
    yield informs("open to everybody", ok=not anyone, found=found, mend=mend)
    free = [each.name for each in outside if not _ruled(config, each)]
    found = _names(free) if free else "nowhere beyond this machine"
    mend = "any device may speak as any other: acl_file, as cans provision writes it"
    yield informs("without access rules", ok=not free, found=found, mend=mend)


def _ruled(config: _Config, listener: _Listener) -> bool:
    said = config.of(listener)
    found = [said.get(option, "") for option in _RULES] + [config.said.get("global_plugin", "")]
    return any(each and _NO_RULES not in each for each in found)


def _number(said: Mapping[str, str], option: str, default: int) -> int:
    """Return an option's number; the default's where mosquitto would refuse it."""
    word = said.get(option, "")
    return int(word) if word.isdecimal() else default


def _names(found: Sequence[str]) -> str:
    return ", ".join(found)
