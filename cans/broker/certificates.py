"""An authority of one's own for a secure broker: CA, revocations, certificates for broker and identities.

Everything is made once and kept; a later call adds what is missing. Keys are P-256, readable by their
owner only. This file must never print or return a private key.
"""

import datetime as dt
import fcntl
import ipaddress
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bus.errors import ConfigurationError
from bus.topics import Topics
from cans.broker.acl import Identity, mosquitto_acl, parse_identity
from cans.broker.places import unwritable

_CA_YEARS = 10
# Devices in the field live long and are seldom visited.
_LEAF_YEARS = 5
# What is left of the broker's own certificate when a new one is made.
_RENEWED = dt.timedelta(days=60)
_CERTIFICATE = "certificate.pem"
_ISSUED = "issued"  # every serial number with its name, a line each
_ALWAYS_SERVED = ("localhost", "127.0.0.1", "::1")
# Clocks of small devices run late; a certificate must not be "not yet valid" there.
_BACKDATED = dt.timedelta(days=2)


def provision(
    state_dir: Path,
    *,
    identities: Iterable[str],
    server_names: Iterable[str],
    topics: Topics,
    lab: Topics | None = None,
    leaving: Identity | None = None,
) -> list[Identity]:
    """Make CA, certificates, revocations and ACL in the state folder, keeping what is there.

    One process at a time: another waits. Files that a broker reads are replaced whole.

    A certificate that was issued once and is no longer in its place is revoked: take an identity's folder
    away and its key opens nothing any more, also if the identity is given a new one.

    Args:
        state_dir: exists and is writable.
        identities: as `parse_identity` reads them, added to those already there.
        server_names: host names and addresses that clients use, besides this machine's own.
        topics: the table under the site's prefix.
        lab: under a testbed's; None where none may play.
        leaving: whose certificate is taken away before all else.

    Returns:
        Every identity that the broker will know.

    Raises:
        ConfigurationError: a name is none, or a file there is damaged.
    """
    wanted = [parse_identity(text) for text in identities]
    try:
        with _alone_in(state_dir):
            return _provide_all(state_dir, wanted, server_names, topics, lab, leaving)
    except OSError as error:
        raise unwritable(state_dir, error) from None


@contextmanager
def _alone_in(state_dir: Path) -> Iterator[None]:
    """Keep other processes out of a state folder for the block."""
    with (state_dir / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _provide_all(
    state_dir: Path,
    wanted: list[Identity],
    server_names: Iterable[str],
    topics: Topics,
    lab: Topics | None,
    leaving: Identity | None,
) -> list[Identity]:
    authority, folder = _Authority(state_dir / "ca"), state_dir / "identities"
    if leaving is not None:
        _take_away(folder / leaving.name)
    _provide_server(authority, state_dir / "server", server_names)
    _require_one_each([*wanted, *_known(folder)])
    for identity in wanted:
        _provide_identity(authority, folder / identity.name, identity)
    known = _known(folder)
    if not known:
        raise ConfigurationError(
            "nobody could connect: say who may with --identity device/TYPE/ID, edge/ID, aggregator/ID or "
            "watcher/ID, each once"
        )
    current = [state_dir / "server" / _CERTIFICATE, *folder.rglob(_CERTIFICATE)]
    authority.revoke_all_but(_read_certificate(path).serial_number for path in current)
    _replace(state_dir / "acl", mosquitto_acl(known, topics, lab).encode(), 0o600)
    return known


def _take_away(folder: Path) -> None:
    """Remove a certificate, which is then revoked; of its key and folder what can be removed."""
    (folder / _CERTIFICATE).unlink(missing_ok=True)
    with suppress(OSError):  # somebody may have put more there: that is his
        (folder / "key.pem").unlink(missing_ok=True)
        folder.rmdir()


def _replace(path: Path, content: bytes, mode: int) -> None:
    """Write a file whole or not at all: a broker may read it at any moment."""
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _require_one_each(identities: Iterable[Identity]) -> None:
    """Refuse one id for two types: `reply/{device}` and `infer/{edge}/{device}` name no type."""
    types: dict[tuple[str, str], str] = {}
    for identity in identities:
        other = types.setdefault((identity.role, identity.id), identity.type)
        if other != identity.type:
            raise ConfigurationError(
                f"the device id {identity.id} would be of type {other} and of type {identity.type}: give "
                "each device an id of its own, or revoke the old identity (cans provision revoke)"
            )


def identities_in(state_dir: Path) -> list[Identity]:
    """Return whose certificates a state folder holds."""
    return _known(state_dir / "identities")


def was_issued(state_dir: Path, identity: Identity) -> bool:
    """Whether somebody has ever had a certificate of this authority."""
    try:
        lines = (state_dir / "ca" / _ISSUED).read_text().splitlines()
    except FileNotFoundError:
        return False
    return any(line.partition(" ")[2] == identity.name for line in lines)


def expiry_of(path: Path) -> dt.datetime:
    """Return until when a certificate holds.

    Raises:
        ConfigurationError: it is none.
    """
    return _read_certificate(path).not_valid_after_utc


def _known(folder: Path) -> list[Identity]:
    return sorted(
        parse_identity(path.parent.relative_to(folder).as_posix()) for path in folder.rglob("certificate.pem")
    )


def _provide_server(authority: "_Authority", folder: Path, server_names: Iterable[str]) -> None:
    names = _subject_alternatives(dict.fromkeys((*_ALWAYS_SERVED, *server_names)))
    path = folder / "certificate.pem"
    if path.is_file() and (folder / "key.pem").is_file():
        there = _read_certificate(path).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        left = expiry_of(path) - dt.datetime.now(dt.UTC)
        if set(there.value) >= set(names) and left > _RENEWED:
            return
        names = list(dict.fromkeys((*there.value, *names)))
    authority.issue(
        folder,
        "cans broker",
        _LEAF_YEARS,
        x509.SubjectAlternativeName(names),
        ExtendedKeyUsageOID.SERVER_AUTH,
    )


def _provide_identity(authority: "_Authority", folder: Path, identity: Identity) -> None:
    if (folder / "certificate.pem").is_file() and (folder / "key.pem").is_file():
        return
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"urn:cans:{identity.name}")])
    authority.issue(folder, identity.name, _LEAF_YEARS, names, ExtendedKeyUsageOID.CLIENT_AUTH)


def _subject_alternatives(names: Iterable[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            if not name or not name.isascii() or any(letter.isspace() or letter in "/:@" for letter in name):
                raise ConfigurationError(
                    f"server name {name!r} is no host name: write it as clients do, without scheme or port"
                ) from None
            found.append(x509.DNSName(name))
    return found


def _read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError:
        raise ConfigurationError(f"{path} holds no certificate: move it away, it is made again") from None


class _Authority:
    """The CA in a folder, made if it is not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        certificate, key = folder / "ca.pem", folder / "key.pem"
        if certificate.is_file() != key.is_file():
            raise ConfigurationError(f"{folder} holds only half of the CA: bring the other file back")
        if certificate.is_file():
            self._certificate = _read_certificate(certificate)
            self._key = _read_key(key)
            return
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cans CA")])
        self._certificate = (
            _builder(name, name, self._key.public_key(), _CA_YEARS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        _write(folder, "ca.pem", self._certificate, self._key)

    def issue(
        self,
        folder: Path,
        common_name: str,
        years: int,
        names: x509.SubjectAlternativeName,
        purpose: x509.ObjectIdentifier,
    ) -> None:
        """Write `certificate.pem` and `key.pem` of a new key pair."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        certificate = (
            _builder(subject, self._certificate.subject, key.public_key(), years)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(names, critical=False)
            # Python 3.13 checks strictly (VERIFY_X509_STRICT): both identifiers must be there.
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        # Before the certificate: one that nobody wrote down could not be revoked.
        with (self._folder / _ISSUED).open("a") as issued:
            issued.write(f"{certificate.serial_number:x} {common_name}\n")
        _write(folder, "certificate.pem", certificate, key)

    def revoke_all_but(self, current: Iterable[int]) -> None:
        """Write `crl.pem`: every serial number issued so far, but these."""
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(now - _BACKDATED)
            # Made anew at every start; a broker that runs on must not find its list out of date.
            .next_update(now + dt.timedelta(days=365 * _CA_YEARS))
        )
        lines = (self._folder / _ISSUED).read_text().splitlines()
        for serial in sorted({int(line.split()[0], 16) for line in lines if line} - set(current)):
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - _BACKDATED)
            builder = builder.add_revoked_certificate(revoked.build())
        revocations = builder.sign(self._key, hashes.SHA256())
        # No secret: a broker that has given up root reads it again when it is told of changes.
        _replace(self._folder / "crl.pem", revocations.public_bytes(serialization.Encoding.PEM), 0o644)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, years: int
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + dt.timedelta(days=365 * years))
    )


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigurationError(f"{path} holds no key of ours: bring the right file back")
    return key


def _write(folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # Created with its final mode: a key must at no moment be readable by others.
    (folder / "key.pem").unlink(missing_ok=True)
    descriptor = os.open(folder / "key.pem", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(private)
    (folder / name).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
