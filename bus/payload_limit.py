"""How large the payload of a request may be, so that its packet passes the broker. Pure.

Two ask: a device, of the broker it is connected to, and `cans partition`, before there is any.
"""

from bus.topics import INFER, KIB

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


def why_too_large(payload_bytes: float, packet_limit_bytes: int = 0) -> str:
    """Return why a payload cannot be sent, in a few words; nothing if it can.

    Args:
        payload_bytes: mean over frames: the mean decides of a codec whose frames vary.
        packet_limit_bytes: as for `payload_limit_bytes`.
    """
    limit = payload_limit_bytes(packet_limit_bytes)
    if payload_bytes <= limit:
        return ""
    return f"{payload_bytes:.0f} bytes are above the {limit} that a request carries"
