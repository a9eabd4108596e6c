import socket
import ssl

import pytest

from bus.address import BrokerAddress
from bus.errors import BrokerBusy, BrokerRefused, BrokerUnreachable, LinkLost
from bus.mqtt_faults import Failure, connect_error, ending, unfinished

PLAIN = BrokerAddress("broker", 1883, username="me")
TLS = BrokerAddress("broker", 8883, tls=True)


def refusal(reason: str) -> Failure:
    """What the TLS library says of an alert of the broker."""
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return Failure(error=error)


@pytest.mark.parametrize(
    ("address", "failure", "kind", "words"),
    [
        (PLAIN, Failure(code=0x86), BrokerRefused, "user 'me'"),
        (TLS, Failure(code=0x87), BrokerRefused, "without a user name"),
        (PLAIN, Failure(code=0x85), BrokerRefused, "another id"),
        (PLAIN, Failure(code=0x84), BrokerRefused, "neither MQTT 5 nor 3.1.1"),
        (PLAIN, Failure(code=0x88), BrokerBusy, "try again later"),
        (PLAIN, Failure(code=0x8A), BrokerRefused, "0x8a"),
        (PLAIN, Failure(timed_out=True), BrokerRefused, "answers no MQTT"),
        (PLAIN, Failure(first_byte=0x48), BrokerRefused, "not an MQTT broker"),
        (PLAIN, Failure(first_byte=0x15), BrokerRefused, "mqtts://"),
        (PLAIN, Failure(), BrokerRefused, "mqtts://"),
        (TLS, Failure(error=ConnectionResetError()), BrokerRefused, "client certificate"),
        (PLAIN, Failure(error=ConnectionRefusedError()), BrokerUnreachable, "nobody listens"),
        (PLAIN, Failure(error=socket.gaierror()), BrokerUnreachable, "cannot be found"),
        (PLAIN, Failure(error=TimeoutError()), BrokerUnreachable, "does not answer"),
        (PLAIN, Failure(error=OSError(113, "No route to host")), BrokerUnreachable, "No route to host"),
        (TLS, Failure(error=ssl.SSLError("no TLS handshake")), BrokerRefused, "does not speak TLS"),
        (TLS, refusal("SSLV3_ALERT_CERTIFICATE_REVOKED"), BrokerRefused, "was revoked: get a new one"),
        (TLS, refusal("TLSV13_ALERT_CERTIFICATE_REQUIRED"), BrokerRefused, "give --cert and --key"),
        (TLS, refusal("TLSV1_ALERT_UNKNOWN_CA"), BrokerRefused, "that the broker's CA signed"),
    ],
)
def test_each_failure_has_its_sentence(
    address: BrokerAddress, failure: Failure, kind: type[Exception], words: str
) -> None:
    error = connect_error(address, failure)
    assert type(error) is kind
    assert words in str(error)
    assert "\n" not in str(error)


def test_3_1_1_is_tried_where_5_was_not_understood_and_nowhere_else() -> None:
    assert Failure(code=0x84).old_protocol
    assert Failure(timed_out=True).old_protocol
    assert Failure().old_protocol
    assert Failure(error=ConnectionResetError()).old_protocol
    assert not Failure(code=0x87).old_protocol
    assert not Failure(first_byte=0x48).old_protocol
    assert not Failure(error=ConnectionRefusedError()).old_protocol
    assert not Failure(error=ssl.SSLError("alert")).old_protocol


def test_a_connection_that_was_not_finished_says_how() -> None:
    assert "went silent while connecting: check" in str(unfinished(PLAIN, TimeoutError()))
    assert "went away while connecting (the broker is busy): check" in str(
        unfinished(PLAIN, LinkLost("the broker is busy"))
    )


def test_endings_are_worded() -> None:
    assert "same id" in ending(0x8E, None)
    assert "0xa2" in ending(0xA2, None)
    assert "reset by peer" in ending(None, OSError(104, "Connection reset by peer"))
    assert ending(None, None) == "the broker closed the connection"
