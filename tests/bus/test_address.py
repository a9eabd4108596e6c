import ssl
from pathlib import Path

import pytest
import trustme

from bus.address import BrokerAddress, parse_broker
from bus.errors import ConfigurationError


def test_urls() -> None:
    assert parse_broker("mqtt://broker") == BrokerAddress("broker", 1883)
    assert parse_broker("mqtt://al%40x@broker:99/", password="s") == BrokerAddress(
        "broker", 99, username="al@x", password="s"
    )
    assert parse_broker("mqtts://broker").port == 8883
    assert parse_broker("mqtt://[::1]:5").url == "mqtt://[::1]:5"


def test_the_password_is_never_shown() -> None:
    address = parse_broker("mqtt://al@broker", password="secret")
    assert "secret" not in repr(address)
    assert repr(address) == "<BrokerAddress mqtt://al@broker:1883>"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("broker", "write mqtt://"),
        ("http://broker", "write mqtt://"),
        ("mqtt://", "write mqtt://"),
        ("mqtt://broker:99999", "write mqtt://host:1883"),
        ("mqtt://broker/topic", "write mqtt://"),
        ("mqtt://broker?x=1", "write mqtt://"),
        ("mqtt://u:p@broker", "CANS_BROKER_PASSWORD"),
    ],
)
def test_a_wrong_url_says_what_to_write(url: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        parse_broker(url)


def test_tls_files_need_tls_and_each_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="write mqtts://"):
        parse_broker("mqtt://broker", ca=tmp_path)
    with pytest.raises(ConfigurationError, match="both its certificate and its key"):
        parse_broker("mqtts://broker", certificate=tmp_path)


def test_tls_context(tmp_path: Path) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost")
    ca, certificate, key = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem"))
    authority.cert_pem.write_to_path(str(ca))
    leaf.cert_chain_pems[0].write_to_path(str(certificate))
    leaf.private_key_pem.write_to_path(str(key))

    assert BrokerAddress().ssl_context() is None
    assert BrokerAddress(tls=True).ssl_context() is not None
    context = BrokerAddress(tls=True, ca=ca, certificate=certificate, key=key).ssl_context()
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED

    with pytest.raises(ConfigurationError, match=r"cannot read the TLS file .*gone\.pem"):
        BrokerAddress(tls=True, ca=tmp_path / "gone.pem").ssl_context()
    with pytest.raises(ConfigurationError, match="do not fit together"):
        BrokerAddress(tls=True, ca=ca, certificate=certificate, key=ca).ssl_context()


def test_a_host_that_no_name_service_could_know_is_a_sentence() -> None:
    with pytest.raises(ConfigurationError, match="names no host"):
        parse_broker("mqtt://a..b:1883")
