"""Who may connect to a secure broker, changed while it runs: added, renewed, revoked, packed for a device.

`certificates.provision` does the work: what is in the state folder counts, and a certificate that was issued
once and is no longer in its place is revoked. The broker is started and told of changes by `cans broker`.
"""

import datetime as dt
import io
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bus.errors import ConfigurationError
from bus.topics import DEFAULT_PREFIX, Role, Topics
from cans.broker.acl import Identity, parse_identity
from cans.broker.certificates import expiry_of, identities_in, provision
from cans.broker.places import require_writable, unwritable

_ABOUT = "site.json"
_KEY, _CERTIFICATE, _CA = "key.pem", "certificate.pem", "ca.pem"


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the ACL of a state folder is made with.

    Attributes:
        prefix: of the site's topics. lab_prefix: of a testbed's; None where none may play.
    """

    prefix: str = DEFAULT_PREFIX
    lab_prefix: str | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """Somebody who may connect, and until when his certificate holds."""

    identity: Identity
    until: dt.datetime

    def days(self, now: dt.datetime) -> int:
        """Return how many days are left; less than none where it is over."""
        return (self.until - now).days


def remember(state_dir: Path, about: About) -> None:
    """Keep with what an ACL is made, for whoever makes it anew."""
    (state_dir / _ABOUT).write_bytes(msgspec.json.encode(about))


def prepare(
    state_dir: Path, identities: tuple[str, ...], server_names: tuple[str, ...], about: About
) -> None:
    """Make authority, server certificate and ACL, or add what is missing.

    Raises:
        ConfigurationError: the folder cannot be written, a name is none, or nobody could connect.
    """
    require_writable(state_dir)
    _provide(state_dir, identities, about, server_names)
    remember(state_dir, about)


def add(state_dir: Path, name: str) -> Identity:
    """Let somebody connect who could not before.

    Raises:
        ConfigurationError: no identity, one that is there already, or no such site.
    """
    identity = parse_identity(name)
    if _place(state_dir, identity).is_dir():
        raise ConfigurationError(
            f"{identity.name} is there already: pack it again (cans provision bundle), or renew it"
        )
    _provide(state_dir, (identity.name,), _about(state_dir))
    return identity


def renew(state_dir: Path, name: str) -> Identity:
    """Give somebody a new key and certificate; the old ones open nothing any more.

    Raises:
        ConfigurationError: nobody of that name.
    """
    identity = _known(state_dir, name)
    about = _about(state_dir)
    _take_away(state_dir, identity)
    _provide(state_dir, (identity.name,), about)
    return identity


def revoke(state_dir: Path, name: str) -> Identity:
    """Let somebody connect no more.

    Raises:
        ConfigurationError: nobody of that name, or the last one.
    """
    identity, about = _known(state_dir, name), _about(state_dir)
    if len(identities_in(state_dir)) == 1:
        raise ConfigurationError(
            f"{identity.name} is the only one who can connect: add another first, or stop the broker"
        )
    _take_away(state_dir, identity)
    _provide(state_dir, (), about)
    return identity


def issued(state_dir: Path) -> list[Issued]:
    """Return who may connect, the one first whose certificate ends first.

    Raises:
        ConfigurationError: no such site.
    """
    _about(state_dir)
    found = [
        Issued(identity, expiry_of(_place(state_dir, identity) / _CERTIFICATE))
        for identity in identities_in(state_dir)
    ]
    return sorted(found, key=lambda each: (each.until, each.identity))


def bundle(state_dir: Path, name: str, url: str, out: Path) -> Identity:
    """Write all that somebody needs on his machine into one tar file, which only its owner can read.

    In it, below a folder of his name: the authority's certificate, his own with its key, and a `cans.toml`
    with the broker's address, so that `cd ID && cans device` connects.

    Raises:
        ConfigurationError: nobody of that name, or `out` is there already or cannot be written.
    """
    identity, about = _known(state_dir, name), _about(state_dir)
    place = _place(state_dir, identity)
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
    except FileExistsError:
        raise ConfigurationError(f"{out} is there already: move it away, or give another -o") from None
    except OSError as error:
        raise ConfigurationError(f"cannot write {out}: {error.strerror}") from None
    return identity


def _settings(identity: Identity, url: str, prefix: str) -> str:
    lines = ["[broker]", f'url = "{url}"', f'ca = "{_CA}"', f'cert = "{_CERTIFICATE}"', f'key = "{_KEY}"']
    lines += [] if prefix == DEFAULT_PREFIX else [f'prefix = "{prefix}"']
    if identity.role in {Role.DEVICE, Role.EDGE, Role.AGGREGATOR}:
        lines += ["", f"[{identity.role.value}]", f'id = "{identity.id}"']
    if identity.type:
        lines.append(f'type = "{identity.type}"')
    return "\n".join(lines) + "\n"


def _about(state_dir: Path) -> About:
    if not (state_dir / "ca" / _CA).is_file():
        raise ConfigurationError(f"there is no site in {state_dir}: make one with cans provision site")
    try:
        return msgspec.json.decode((state_dir / _ABOUT).read_bytes(), type=About)
    except FileNotFoundError:
        return About()  # made before there was such a file
    except msgspec.DecodeError as error:
        raise ConfigurationError(
            f"{state_dir / _ABOUT} is damaged ({error}): start cans broker once"
        ) from None


def _known(state_dir: Path, name: str) -> Identity:
    identity = parse_identity(name)
    if not (_place(state_dir, identity) / _CERTIFICATE).is_file():
        _about(state_dir)
        known = ", ".join(each.name for each in identities_in(state_dir)) or "nobody"
        raise ConfigurationError(f"there is no {identity.name} in {state_dir}: it has {known}")
    return identity


def _place(state_dir: Path, identity: Identity) -> Path:
    return state_dir / "identities" / identity.name


def _take_away(state_dir: Path, identity: Identity) -> None:
    """Remove a certificate and its key; a kill between the two leaves no certificate: revoked as well."""
    place = _place(state_dir, identity)
    try:
        (place / _CERTIFICATE).unlink()
        (place / _KEY).unlink(missing_ok=True)
        place.rmdir()
    except OSError as error:
        raise unwritable(place, error) from None


def _provide(
    state_dir: Path, identities: tuple[str, ...], about: About, server_names: tuple[str, ...] = ()
) -> None:
    lab = None if about.lab_prefix is None else Topics(about.lab_prefix)
    provision(
        state_dir, identities=identities, server_names=server_names, topics=Topics(about.prefix), lab=lab
    )
