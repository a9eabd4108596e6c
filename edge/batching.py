"""What may run together: frames of different devices that ask for the same tail.

A tail of several frames is run once, which saves what each run costs besides its arithmetic. Nobody waits for
companions: a worker that is idle takes what is there, and while it computes the next ones gather by
themselves. So an edge worker that is not busy answers as if there were no batches.
"""

from collections.abc import Mapping

from bus.messages import ActivationRequest

Batches = Mapping[int, int]
"""By cut, the most frames that its tail takes at once; a cut that is not named takes one."""
Tail = tuple[str, int, str, str, tuple[int, ...]]


def tail_of(request: ActivationRequest) -> Tail:
    """Return what a request needs to have in common with those that it runs with."""
    return (request.model, request.cut, request.codec, request.dtype, request.shape)
