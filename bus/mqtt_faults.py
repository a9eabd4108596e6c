"""Why a connection could not be made, or ended, as one sentence that says what to do.

This file must never touch the MQTT library; it is handed reason codes as numbers.
"""

import socket
import ssl
from typing import NamedTuple

from bus.address import BrokerAddress
from bus.errors import BrokerBusy, BrokerRefused, BrokerUnreachable, ConfigurationError

_CONNACK = 0x20
_TLS_ALERT = 0x15  # how a TLS port answers a plain client
UNSUPPORTED_PROTOCOL = 0x84
TAKEN_OVER = 0x8E
# MQTT 5, section 3.2.2.2: the broker is there but busy; the same request may work later.
_BUSY = {
    0x88: "is not available",
    0x89: "is busy",
    0x97: "has its quota exceeded",
    0x9F: "limits connections",
}
# MQTT 5, section 3.14.2.1; the reasons that a person can act on.
_ENDINGS = {
    0x00: "the broker said goodbye",
    0x04: "the broker said goodbye",
    0x87: "the broker took the permission away",
    0x89: "the broker is busy",
    0x8B: "the broker is shutting down",
    0x8D: "the broker heard nothing for too long",
    TAKEN_OVER: "another client connected with the same id: give each its own",
    0x93: "the broker's ReceiveMaximum was exceeded",
    0x95: "a packet was larger than the broker allows",
    0x98: "an administrator ended the connection",
}


class Failure(NamedTuple):
    """What was seen of an attempt to connect that failed.

    Attributes:
        code: of the CONNACK, MQTT 5 numbering; None if there was none.
        error: of the socket or of TLS, None if there was none.
        timed_out: connected, but nothing came.
        first_byte: of what came, None if nothing did.
    """

    code: int | None = None
    error: OSError | None = None
    timed_out: bool = False
    first_byte: int | None = None

    @property
    def old_protocol(self) -> bool:
        """Whether MQTT 3.1.1 may work where 5 did not.

        The standard asks for a refusal. Some brokers hang up without a word; amqtt says nothing at all.
        """
        if self.code is not None:
            return self.code == UNSUPPORTED_PROTOCOL
        if self.first_byte not in {None, _CONNACK}:
            return False
        return self.error is None or isinstance(self.error, ConnectionResetError)


def connect_error(address: BrokerAddress, failure: Failure) -> ConfigurationError:
    """Return the error that tells a person what to change."""
    if failure.code is not None:
        return _refused(address, failure.code)
    if isinstance(failure.error, ssl.SSLError):
        return _tls(address, failure.error)
    if failure.first_byte == _TLS_ALERT:
        return _hung_up(address)
    if failure.first_byte not in {None, _CONNACK}:
        return BrokerRefused(f"{address.url} is not an MQTT broker: correct the port")
    if failure.timed_out:
        return BrokerRefused(f"{address.url} accepts connections but answers no MQTT: correct the port")
    return _socket(address, failure.error)


def _socket(address: BrokerAddress, error: OSError | None) -> ConfigurationError:
    match error:
        case ConnectionRefusedError():
            return BrokerUnreachable(
                f"nobody listens at {address.url}: start a broker (`cans broker`) or correct the address"
            )
        case socket.gaierror():
            return BrokerUnreachable(f"the host {address.host!r} cannot be found: correct the address")
        case TimeoutError():
            return BrokerUnreachable(f"{address.url} does not answer: check host, port and firewall")
        case None | ConnectionResetError() | BrokenPipeError():
            return _hung_up(address)
    return BrokerUnreachable(
        f"{address.url} cannot be reached ({error.strerror or error}): check the network"
    )


def _hung_up(address: BrokerAddress) -> ConfigurationError:
    if address.tls:
        return BrokerRefused(
            f"{address.url} closed the connection without an answer: "
            "check the client certificate, and that the port is the broker's TLS port"
        )
    return BrokerRefused(
        f"{address.url} closed the connection without an answer: "
        "is it just stopping, is this its TLS port (write mqtts://), or not a broker at all?"
    )


def _tls(address: BrokerAddress, error: ssl.SSLError) -> ConfigurationError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return BrokerRefused(
            f"the certificate of {address.url} does not verify ({error.verify_message}): "
            "give the CA that signed it, and a host name that it holds"
        )
    reason = getattr(error, "reason", None) or ""
    if "CERTIFICATE_REVOKED" in reason:
        return BrokerRefused(
            f"{address.url} says that this client's certificate was revoked: get a new one "
            "(on the broker's machine: cans provision renew, or add)"
        )
    if "CERTIFICATE_REQUIRED" in reason:
        return BrokerRefused(f"{address.url} lets nobody in without a certificate: give --cert and --key")
    if "ALERT" in reason:
        return BrokerRefused(
            f"{address.url} refused this client's certificate ({error.reason}): "
            "give a certificate and key that the broker's CA signed"
        )
    return BrokerRefused(f"{address.url} does not speak TLS: write mqtt:// or give the broker's TLS port")


def _refused(address: BrokerAddress, code: int) -> ConfigurationError:
    who = f"user {address.username!r}" if address.username else "a client without a user name"
    if code in _BUSY:
        return BrokerBusy(f"{address.url} {_BUSY[code]} (0x{code:02x}): try again later")
    match code:
        case 0x86:
            return BrokerRefused(
                f"{address.url} does not accept the password of {who}: correct user or password"
            )
        case 0x87:
            return BrokerRefused(
                f"{address.url} does not let {who} in: give a user with its password, or a client certificate"
            )
        case 0x85:
            return BrokerRefused(f"{address.url} does not accept the client id: choose another id")
        case 0x84:
            return BrokerRefused(f"{address.url} speaks neither MQTT 5 nor 3.1.1: use another broker")
    return BrokerRefused(f"{address.url} refused the connection with reason code 0x{code:02x}: see its log")


def unfinished(address: BrokerAddress, error: Exception) -> BrokerBusy:
    """Return the error of a connection that was accepted and then not set up.

    Args:
        address: of the broker.
        error: `TimeoutError` where it went silent; else its words are told.
    """
    what = "went silent" if isinstance(error, TimeoutError) else "went away"
    why = f" ({error})" if str(error) else ""
    return BrokerBusy(f"{address.url} {what} while connecting{why}: check the broker's log and its load")


def ending(code: int | None, error: OSError | None) -> str:
    """Return why an established connection ended.

    Args:
        code: reason code of the broker's DISCONNECT, None if it sent none.
        error: of the socket, if it had one.
    """
    if code is not None:
        return _ENDINGS.get(code, f"the broker ended the connection with reason code 0x{code:02x}")
    if error is not None:
        return f"the connection broke: {error.strerror or error}"
    return "the broker closed the connection"
