"""Where the broker is, and how to prove who we are to it.

mqtt://user@host:1883      plain; the password comes from the environment or a file, never the URL
mqtts://host:8883          TLS: CA and client certificate beside it
"""

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from bus.errors import ConfigurationError

_PORTS = {"mqtt": 1883, "mqtts": 8883}


def is_loopback(host: str) -> bool:
    """Whether a host, a name or an address, is this machine and nobody else reaches it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """A broker's address with what is needed to log in.

    Attributes:
        password: kept out of `repr` and out of the URL.
        ca, certificate, key: PEM files; the last two make a client certificate.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    tls: bool = False
    username: str | None = None
    password: str | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __repr__(self) -> str:
        return f"<BrokerAddress {self.url}>"

    @property
    def url(self) -> str:
        """The address as a person would type it, without secrets."""
        user = f"{quote(self.username, safe='')}@" if self.username else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{user}{host}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether it is reached within this machine."""
        return is_loopback(self.host)

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return the TLS context, or None for plain MQTT.

        Raises:
            ConfigurationError: if a file cannot be read or does not hold what it should.
        """
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except FileNotFoundError:
            missing = [
                str(p) for p in (self.ca, self.certificate, self.key) if p is not None and not p.is_file()
            ]
            raise ConfigurationError(
                f"cannot read the TLS file {' and '.join(missing)}: give an existing PEM file"
            ) from None
        except (ssl.SSLError, OSError) as error:
            raise ConfigurationError(f"the TLS files for {self.url} do not fit together: {error}") from None
        return context


def parse_broker(
    url: str,
    *,
    password: str | None = None,
    ca: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
) -> BrokerAddress:
    """Read a broker URL.

    Args:
        url: `mqtt://[user@]host[:port]` or `mqtts://...`.
        password: of the user named in the URL.
        ca: PEM file that the broker's certificate is checked against; the system's when None.
        certificate: PEM file of the client's certificate.
        key: PEM file of its key.

    Raises:
        ConfigurationError: with what to write instead.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(
            f"broker {url!r} is not an address ({error}): write mqtt://host:1883"
        ) from None
    if parts.scheme not in _PORTS or not parts.hostname or parts.path not in {"", "/"} or parts.query:
        raise ConfigurationError(
            f"broker {url!r} is not an address: write mqtt://[user@]host[:port] or mqtts://..."
        )
    try:
        parts.hostname.encode("idna")
    except UnicodeError:
        raise ConfigurationError(f"broker {url!r} names no host: write mqtt://host:1883") from None
    if parts.password is not None:
        raise ConfigurationError(
            "a password in the broker's URL ends up in logs: set CANS_BROKER_PASSWORD instead"
        )
    tls = parts.scheme == "mqtts"
    if (ca or certificate or key) and not tls:
        raise ConfigurationError("TLS files are given but the broker's URL is plain: write mqtts://")
    if (certificate is None) != (key is None):
        raise ConfigurationError("a client certificate needs both its certificate and its key file")
    return BrokerAddress(
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        tls=tls,
        username=unquote(parts.username) if parts.username else None,
        password=password,
        ca=ca,
        certificate=certificate,
        key=key,
    )
