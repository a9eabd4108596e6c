"""Which arms a device does not play, and why. Pure: it looks at a plan and at what a person has asked for.

Three reasons: the arm's answers differ too often from the uncut network's, what it sends does not pass the
broker, or a person has named it. The device-only arm, which sends and loses nothing, can only be named, and
the plan refuses that.
This file must never measure anything.
"""

from collections.abc import Collection

from bus.errors import ConfigurationError
from bus.topics import INFER, KIB
from device.plan import Plan

# What a request says around its payload, at most; a test holds it against the message.
ENVELOPE_BYTES = 2 * KIB
# Topic and properties of its packet: what `INFER.limit_bytes` leaves under the limit of our own broker.
PACKET_BYTES = 4 * KIB


def payload_limit_bytes(packet_limit_bytes: int = 0) -> int:
    """Return how large a payload may be.

    Args:
        packet_limit_bytes: the largest packet that the broker takes; 0 where it has not said.
    """
    limit = INFER.limit_bytes
    if packet_limit_bytes > 0:
        limit = min(limit, packet_limit_bytes - PACKET_BYTES)
    return max(0, limit - ENVELOPE_BYTES)


def reasons(
    plan: Plan, *, labels: Collection[str] = (), min_agreement: float = 0.0, packet_limit_bytes: int = 0
) -> dict[int, str]:
    """Return index of each arm to be banned to why, in a few words.

    Args:
        plan: of the whole model; with agreements, if there is a least one.
        labels: of arms that a person does without.
        min_agreement: the least share of frames with the uncut network's best class.
        packet_limit_bytes: as for `payload_limit_bytes`.

    Raises:
        ConfigurationError: a label that no arm has.
    """
    known = [plan.label(arm) for arm in range(len(plan.arms))]
    for label in labels:
        if label not in known:
            raise ConfigurationError(f"there is no arm {label!r} to ban: the arms are {', '.join(known)}")
    limit = payload_limit_bytes(packet_limit_bytes)
    found: dict[int, str] = {}
    for arm, label in enumerate(known):
        said = ["named by --ban"] if label in labels else []
        if plan.agreement and plan.agreement[arm] < min_agreement:
            said.append(f"agreement {plan.agreement[arm]:.4g} is below {min_agreement:g}")
        if plan.payload_bytes(arm) > limit:
            said.append(f"{plan.payload_bytes(arm):.0f} bytes are above the {limit} that a request carries")
        if said:
            found[arm] = ", and ".join(said)
    return found
