"""What fits into a request: the same sum for the device that sends it and for `cans partition`."""

from pathlib import Path

from bus.messages import ActivationRequest
from bus.payload_limit import ENVELOPE_BYTES, PACKET_BYTES, payload_limit_bytes, why_too_large
from bus.topics import INFER, MIB
from bus.wire import encode

COMMON = Path(__file__).parents[2] / "broker-config" / "common.conf"


def test_our_own_broker_takes_what_the_topic_allows_and_a_smaller_one_less() -> None:
    own = payload_limit_bytes()
    assert own == INFER.limit_bytes - ENVELOPE_BYTES < INFER.limit_bytes < 8 * MIB
    assert payload_limit_bytes(8 * MIB) == payload_limit_bytes(64 * MIB) == own
    assert f"max_packet_size {8 * MIB}" in COMMON.read_text(encoding="utf-8").splitlines()
    assert payload_limit_bytes(PACKET_BYTES + ENVELOPE_BYTES + 400) == 400
    assert payload_limit_bytes(100) == 0


def test_a_payload_that_fits_has_nothing_against_it_and_a_larger_one_its_size() -> None:
    limit = PACKET_BYTES + ENVELOPE_BYTES + 400
    assert why_too_large(400.0, limit) == why_too_large(401.0) == ""
    assert why_too_large(400.6, limit) == "401 bytes are above the 400 that a request carries"


def test_the_envelope_holds_the_longest_request() -> None:
    label = "\N{OGHAM SPACE MARK}" * 64
    request = ActivationRequest(
        id=label,
        device="d" * 48,
        type="t" * 48,
        model="0" * 16,
        cut=4096,
        codec=label,
        dtype=label,
        shape=(2**31,) * 6,
        seq=2**53,
        budget_ms=1e9,
        payload=memoryview(b""),
        traceparent=label,
    )
    assert len(encode(INFER, request)) + 4 <= ENVELOPE_BYTES  # the payload's own length
