"""Which arms a device does not play, and why. Pure: it looks at a plan and at what a person has asked for.

Three reasons: the arm's answers differ too often from the uncut network's, what it sends does not pass the
broker, or a person has named it. The device-only arm, which sends and loses nothing, can only be named, and
the plan refuses that.
This file must never measure anything.
"""

from collections.abc import Collection

from bus.errors import ConfigurationError
from bus.payload_limit import why_too_large
from device.plan import Plan


def reasons(
    plan: Plan, *, labels: Collection[str] = (), min_agreement: float = 0.0, packet_limit_bytes: int = 0
) -> dict[int, str]:
    """Return index of each arm to be banned to why, in a few words.

    Args:
        plan: of the whole model; with agreements, if there is a least one.
        labels: of arms that a person does without.
        min_agreement: the least share of frames with the uncut network's best class.
        packet_limit_bytes: the largest packet that the broker takes; 0 where it has not said.

    Raises:
        ConfigurationError: a label that no arm has.
    """
    known = [plan.label(arm) for arm in range(len(plan.arms))]
    for label in labels:
        if label not in known:
            raise ConfigurationError(f"there is no arm {label!r} to ban: the arms are {', '.join(known)}")
    found: dict[int, str] = {}
    for arm, label in enumerate(known):
        said = ["named by --ban"] if label in labels else []
        if plan.agreement and plan.agreement[arm] < min_agreement:
            said.append(f"agreement {plan.agreement[arm]:.4g} is below {min_agreement:g}")
        too_large = why_too_large(plan.payload_bytes(arm), packet_limit_bytes)
        if too_large:
            said.append(too_large)
        if said:
            found[arm] = ", and ".join(said)
    return found
