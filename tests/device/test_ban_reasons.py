"""What a device has against an arm, and that it says so."""

from dataclasses import replace

import numpy as np
import pytest

from bus.errors import ConfigurationError
from bus.messages import Columns
from bus.payload_limit import ENVELOPE_BYTES, PACKET_BYTES, payload_limit_bytes
from device.ban_reasons import reasons
from device.plan import Plan
from tests.support.device_parts import PLAN

# The link column is 0.5, 0.3 and 0: of 1000 elements, 500, 300 and no bytes.
SIZED = replace(PLAN, columns=Columns(names=("front", "back", "link.bits", "offload"), input_elements=1000))
AGREED = replace(SIZED, agreement=(0.9375, 1.0, 1.0))


def large(factor: int) -> Plan:
    scale = np.array([1.0, 1.0, factor, 1.0])
    return replace(SIZED, contexts=SIZED.contexts * scale)


def test_without_a_reason_nothing_is_banned() -> None:
    assert reasons(AGREED) == reasons(AGREED, min_agreement=0.9375) == {}
    assert reasons(PLAN, min_agreement=1.0) == {}  # nobody has measured


def test_an_arm_that_answers_otherwise_too_often_is_banned_with_the_figure() -> None:
    assert reasons(AGREED, min_agreement=0.99) == {0: "agreement 0.9375 is below 0.99"}
    assert reasons(replace(AGREED, agreement=(0.0, 0.0, 1.0)), min_agreement=1.0).keys() == {0, 1}


def test_an_arm_whose_payload_does_not_pass_is_banned_with_its_size() -> None:
    assert [SIZED.payload_bytes(arm) for arm in range(3)] == [500.0, 300.0, 0.0]
    assert [PLAN.payload_bytes(arm) for arm in range(3)] == [0.0, 0.0, 0.0]
    limit = payload_limit_bytes()
    assert reasons(large(20_000)) == {0: f"10000000 bytes are above the {limit} that a request carries"}
    assert reasons(large(40_000)).keys() == {0, 1}


def test_a_broker_that_takes_less_than_the_topic_allows_sets_the_limit() -> None:
    packet = PACKET_BYTES + ENVELOPE_BYTES + 400
    assert reasons(SIZED, packet_limit_bytes=packet).keys() == {0}
    assert reasons(SIZED, packet_limit_bytes=100).keys() == {0, 1}  # and never the one that sends nothing


def test_a_person_names_arms_by_their_labels() -> None:
    assert reasons(SIZED, labels=("1/int8-zstd",)) == {1: "named by --ban"}
    with pytest.raises(
        ConfigurationError, match="no arm '1/png' to ban: the arms are 0/jpeg, 1/int8-zstd, end/"
    ):
        reasons(SIZED, labels=("1/png",))
    with pytest.raises(ConfigurationError, match=r"end/none runs all on the device.* cannot be banned"):
        SIZED.without(reasons(SIZED, labels=("end/none",)))


def test_all_that_is_against_an_arm_is_said() -> None:
    said = reasons(AGREED, labels=("0/jpeg",), min_agreement=0.99, packet_limit_bytes=100)[0]
    sized = "500 bytes are above the 0 that a request carries"
    assert said == f"named by --ban, and agreement 0.9375 is below 0.99, and {sized}"
