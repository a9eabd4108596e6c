"""A profile of the small plan in `device_parts`, whose times a test can know by heart."""

from typing import Any

from msgspec.structs import replace

from partition.profiles.machine import this_machine
from partition.profiles.profile_file import (
    ArmTimes,
    Conditions,
    ExitTimes,
    Operator,
    Profile,
    Segment,
    Timing,
)

MODEL, SCHEMA = "00112233445566aa", "aabbccddeeff0011"


def timing(median_ms: float, spread: float = 0.0) -> Timing:
    """Return a duration whose quartiles lie `spread` of the median apart."""
    half = median_ms * spread / 2.0
    return Timing(median_ms=median_ms, low_ms=median_ms - half, high_ms=median_ms + half, mad_ms=half)


QUIET = Conditions(torch="2.0.0", threads=1, probe=timing(1.0))


def profile_of(**changes: Any) -> Profile:
    """Return a quiet profile of three arms and two exits on this machine."""
    made = Profile(
        name="small",
        weights="seeded:0",
        model=MODEL,
        schema=SCHEMA,
        machine=this_machine(),
        conditions=QUIET,
        repeats=40,
        warnings=(),
        columns=("front.conv_macs", "encode.elements", "link.bits", "offload"),
        front=(True, True, False, False),
        whole=timing(19.0),
        normalise=timing(1.0),
        segments=(
            Segment(name="a", start=0, stop=1, time=timing(7.0)),
            Segment(name="end", start=1, stop=2, time=timing(12.0)),
        ),
        operators=(Operator(name="a.conv", kind="Conv2d", time=timing(6.5)),),
        arms=(
            _arm("0/jpeg", (0.0, 0.7, 0.1, 1.0), 1000.0, (0.0, 2.0, 0.5, 21.0)),
            _arm("1/int8-zstd", (0.4, 0.1, 0.5, 1.0), 5000.0, (8.0, 1.0, 0.5, 12.0)),
            _arm("end/none", (1.0, 0.0, 0.0, 0.0), 0.0, (20.0, 0.0, 0.0, 0.0)),
        ),
        exits=(
            ExitTimes(context=(0.3, 0.0, 0.0, 0.0), time=timing(6.0, 0.1)),
            ExitTimes(context=(1.1, 0.0, 0.0, 0.0), time=timing(20.0, 0.1)),
        ),
    )
    return replace(made, **changes)


def _arm(
    label: str, context: tuple[float, ...], sent: float, times: tuple[float, float, float, float]
) -> ArmTimes:
    head, encode, decode, tail = (timing(each) for each in times)
    return ArmTimes(
        label=label, context=context, payload_bytes=sent, head=head, encode=encode, decode=decode, tail=tail
    )
