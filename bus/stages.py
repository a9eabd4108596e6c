"""The stages of a frame: one word for each, the same in messages, tables and documents.

A frame passes its stages one after another; each is a duration on one machine's clock, and no clock is ever
compared with another machine's:

    word      clock    from -> to
    capture   device   the source is asked -> the frame is there; before the total begins
    wait      device   time of the total that is no other stage: behind the frame in play, handing over to
                       the worker thread and back
    head      device   preprocessing and the network before the cut
    encode    device   the activation -> the payload
    link      device   request handed to the connection -> answer read, less the edge worker's own stages:
                       writing the messages, the broker, both ways of the link
    queue     edge     request read -> handed to a worker
    decode    edge     the payload -> the activation
    tail      edge     the network after the cut
    reply     edge     time there that is no other stage: handing over to the worker thread and back
    vain      device   waiting for an answer that did not come, or was a refusal
    fallback  device   the network after the cut, on the device after all

`wait` and `link` are remainders: what is left of times that were measured around them. So the stages add up
to the total by construction; what a reader may doubt is where a remainder belongs, never whether it is there.
"""

from typing import Final

from bus.messages import Feedback

STAGES: Final = (
    "wait",
    "head",
    "encode",
    "link",
    "queue",
    "decode",
    "tail",
    "reply",
    "vain",
    "fallback",
)
"""Of the total, in the order in which a frame passes them (but for `wait`, which is in several places)."""


def stages_of(said: Feedback) -> dict[str, float]:
    """Return the milliseconds of each stage of the total, by its word."""
    return {stage: float(getattr(said, f"{stage}_ms")) for stage in STAGES}


def unexplained_ms(said: Feedback) -> float:
    """Return what is left of the total after all stages; of devices that say them all, next to nothing."""
    return said.total_ms - sum(stages_of(said).values())
