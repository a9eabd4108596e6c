"""Who may connect to a secure broker, changed while it runs: added, renewed, revoked, packed for a device.

`certificates.provision` does the work: what is in the state folder counts, and a certificate that was issued
once and is no longer in its place is revoked. The broker is started and told of changes by `cans broker`.
"""

import datetime as dt
import io
import json
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bus.errors import ConfigurationError
from bus.topics import DEFAULT_PREFIX, Role, Topics, topics_below
from cans.broker.acl import Identity, parse_identity
from cans.broker.certificates import expiry_of, identities_in, provision, was_issued
from cans.broker.places import require_writable

_ABOUT = "site.json"
_KEY, _CERTIFICATE, _CA = "key.pem", "certificate.pem", "ca.pem"


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the ACL of a state folder is made with.

    Attributes:
        prefix: of the site's topics. lab_prefix: of a testbed's; None where none may play.
        revoked: who is not made again because a command line still names him, only by `add`.
    """

    prefix: str = DEFAULT_PREFIX
    lab_prefix: str | None = None
    revoked: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a testbed among the site's own topics, where it would let each speak for all.

        Raises:
            ConfigurationError: so it is, or a prefix is none.
        """
        if self.lab_prefix == self.prefix:
            raise ConfigurationError(
                f"--lab-prefix {self.lab_prefix} is the site's own prefix, below which a device may use no "
                "name but its own: give a testbed another, such as cans/testbed"
            )
        topics_below(self.prefix)
        if self.lab_prefix is not None:
            topics_below(self.lab_prefix)


@dataclass(frozen=True, slots=True)
class Issued:
    """Somebody who may connect, or the broker or the authority, and until when his certificate holds."""

    name: str
    until: dt.datetime

    def days(self, now: dt.datetime) -> int:
        """Return how many days are left; less than none where it is over."""
        return (self.until - now).days


def remember(state_dir: Path, about: About) -> None:
    """Keep with what an ACL is made, for whoever makes it anew."""
    (state_dir / _ABOUT).write_bytes(msgspec.json.encode(about))


def prepare(
    state_dir: Path,
    identities: tuple[str, ...],
    server_names: tuple[str, ...],
    prefix: str | None = None,
    lab_prefix: str | None = None,
) -> About:
    """Make authority, server certificate and ACL, or add what is missing; prefixes stay as they were.

    Raises:
        ConfigurationError: the folder cannot be written, a name is none, or nobody could connect.
    """
    require_writable(state_dir)
    there = remembered(state_dir)
    if again := revoked_among(state_dir, identities):
        raise ConfigurationError(f"{again[0]} was revoked: cans provision add, if that is meant")
    about = About(prefix or there.prefix, lab_prefix or there.lab_prefix, there.revoked)
    _provide(state_dir, about, identities, server_names)
    remember(state_dir, about)
    return about


def revoked_among(state_dir: Path, identities: Sequence[str]) -> list[str]:
    """Return which of these were revoked, and not added again since.

    Raises:
        ConfigurationError: one is no identity.
    """
    revoked = remembered(state_dir).revoked
    return [text for text in identities if parse_identity(text).name in revoked]


def require_prefix(state_dir: Path, prefix: str) -> None:
    """Refuse to start a broker whose site was made with another prefix: nobody could speak any more.

    Raises:
        ConfigurationError: it was.
    """
    there = remembered(state_dir).prefix
    if (state_dir / _ABOUT).is_file() and there != prefix:
        raise ConfigurationError(
            f"the site in {state_dir} has the prefix {there}, not {prefix}: start it with --prefix {there}, "
            f"or change it (cans provision site --state-dir {state_dir} --prefix {prefix})"
        )


def add(state_dir: Path, name: str) -> Identity:
    """Let somebody connect who could not before.

    Raises:
        ConfigurationError: no identity, one that is there already, or no such site.
    """
    identity, about = parse_identity(name), _about(state_dir)
    if (_place(state_dir, identity) / _CERTIFICATE).is_file():
        raise ConfigurationError(
            f"{identity.name} is there already: pack it again (cans provision bundle), or renew it"
        )
    _provide(state_dir, about, (identity.name,))
    _remember_revoked(state_dir, about, [name for name in about.revoked if name != identity.name])
    return identity


def renew(state_dir: Path, name: str) -> Identity:
    """Give somebody a new key and certificate; the old ones open nothing any more.

    Raises:
        ConfigurationError: nobody of that name.
    """
    identity = _known(state_dir, name)
    _provide(state_dir, _about(state_dir), (identity.name,), leaving=identity)
    return identity


def revoke(state_dir: Path, name: str) -> Identity:
    """Let somebody connect no more; once more if it was cut short, or he is gone already.

    Raises:
        ConfigurationError: nobody of that name was ever there, or the last one.
    """
    identity, about = parse_identity(name), _about(state_dir)
    if not was_issued(state_dir, identity):
        _known(state_dir, name)
    if identities_in(state_dir) == [identity]:
        raise ConfigurationError(
            f"{identity.name} is the only one who can connect: add another first, or stop the broker"
        )
    _remember_revoked(state_dir, about, sorted({*about.revoked, identity.name}))
    _provide(state_dir, about, leaving=identity)
    return identity


def _remember_revoked(state_dir: Path, about: About, revoked: Sequence[str]) -> None:
    if tuple(revoked) != about.revoked:
        remember(state_dir, msgspec.structs.replace(about, revoked=tuple(revoked)))


def issued(state_dir: Path) -> list[Issued]:
    """Return who has a certificate, the one first whose ends first.

    Raises:
        ConfigurationError: no such site.
    """
    _about(state_dir)
    found = [
        Issued(identity.name, expiry_of(_place(state_dir, identity) / _CERTIFICATE))
        for identity in identities_in(state_dir)
    ]
    own = (("the broker itself", "server/" + _CERTIFICATE), ("the authority", "ca/" + _CA))
    found += [Issued(name, expiry_of(state_dir / path)) for name, path in own]
    return sorted(found, key=lambda each: (each.until, each.name))


def bundle(state_dir: Path, name: str, url: str, out: Path) -> Identity:
    """Write all that somebody needs on his machine into one tar file, which only its owner can read.

    In it, below a folder of his name: the authority's certificate, his own with its key, and a `cans.toml`
    with the broker's address, so that `cd ID && cans device` connects.

    Raises:
        ConfigurationError: nobody of that name, or `out` is there already or cannot be written.
    """
    require_room(out)
    identity, about = _known(state_dir, name), _about(state_dir)
    place = _place(state_dir, identity)
    if not (place / _KEY).is_file():
        raise ConfigurationError(f"{place / _KEY} is missing: give {identity.name} a new one (renew)")
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for file, data in (
            (_CA, (state_dir / "ca" / _CA).read_bytes()),
            (_CERTIFICATE, (place / _CERTIFICATE).read_bytes()),
            (_KEY, (place / _KEY).read_bytes()),
            ("cans.toml", _settings(identity, url, about.prefix).encode()),
        ):
            member = tarfile.TarInfo(f"{identity.id}/{file}")
            member.size, member.mode = len(data), 0o600
            archive.addfile(member, io.BytesIO(data))
    try:
        # Created with its final mode: a key must at no moment be readable by others.
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file_:
            file_.write(content.getvalue())
    except OSError as error:
        raise ConfigurationError(f"cannot write {out}: {error.strerror}") from None
    return identity


def require_room(out: Path) -> None:
    """Refuse a bundle that could not be written, before anything has changed.

    Raises:
        ConfigurationError: it is there already, or its folder is none that can be written.
    """
    if out.exists():
        raise ConfigurationError(f"{out} is there already: move it away, or give another -o")
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise ConfigurationError(f"cannot write {out}: {out.parent} is no folder that can be written")


def _settings(identity: Identity, url: str, prefix: str) -> str:
    # A JSON string is one of TOML, whatever the address holds.
    lines = ["[broker]", f"url = {json.dumps(url)}"]
    lines += [f'ca = "{_CA}"', f'cert = "{_CERTIFICATE}"', f'key = "{_KEY}"']
    lines += [] if prefix == DEFAULT_PREFIX else [f"prefix = {json.dumps(prefix)}"]
    if identity.role in {Role.DEVICE, Role.EDGE, Role.AGGREGATOR}:
        lines += ["", f"[{identity.role.value}]", f'id = "{identity.id}"']
    if identity.type:
        lines += [f'type = "{identity.type}"', 'state-dir = "state"']
    return "\n".join(lines) + "\n"


def _about(state_dir: Path) -> About:
    if not (state_dir / "ca" / _CA).is_file():
        raise ConfigurationError(f"there is no site in {state_dir}: make one with cans provision site")
    return remembered(state_dir)


def remembered(state_dir: Path) -> About:
    """Return with what the ACL was made; what is usual where nothing is kept.

    Raises:
        ConfigurationError: what is kept is damaged.
    """
    try:
        return msgspec.json.decode((state_dir / _ABOUT).read_bytes(), type=About)
    except OSError:
        return About()  # there is none, or it was made before there was such a file
    except (msgspec.DecodeError, ConfigurationError) as error:
        raise ConfigurationError(f"{state_dir / _ABOUT} is damaged ({error}): remove it") from None


def _known(state_dir: Path, name: str) -> Identity:
    identity = parse_identity(name)
    if not (_place(state_dir, identity) / _CERTIFICATE).is_file():
        _about(state_dir)
        known = ", ".join(each.name for each in identities_in(state_dir)) or "nobody"
        raise ConfigurationError(f"there is no {identity.name} in {state_dir}: it has {known}")
    return identity


def _place(state_dir: Path, identity: Identity) -> Path:
    return state_dir / "identities" / identity.name


def _provide(
    state_dir: Path,
    about: About,
    identities: tuple[str, ...] = (),
    server_names: tuple[str, ...] = (),
    leaving: Identity | None = None,
) -> None:
    lab = None if about.lab_prefix is None else Topics(about.lab_prefix)
    provision(
        state_dir,
        identities=identities,
        server_names=server_names,
        topics=Topics(about.prefix),
        lab=lab,
        leaving=leaving,
    )
