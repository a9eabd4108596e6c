"""What the processes of a site held and had spent after a block. Pure."""

import msgspec


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """One process: bytes resident in memory, and processor seconds since it began."""

    resident_bytes: int
    cpu_s: float


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A site after a block.

    Attributes:
        at_s: since the repetition began.
        round, policy: of the block.
        held: by process; who is not there is missing.
        answered_ms: capture to answer of the block's answered frames, of all devices.
        lost: frames without an answer.
        load: of the whole machine, processes that run or would, mean of a minute: what else is going on; None
            in samples of before it was taken.
    """

    at_s: float
    round: int
    policy: str
    held: dict[str, Held]
    answered_ms: tuple[float, ...]
    lost: int
    load: float | None = None
