"""What comes out of playing a policy in a world once."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Round by round, arrays of one length.

    Attributes:
        at_s: virtual time at which the frame was due.
        device, arm: indices.
        cost: what the round cost, noise included.
        regret: true mean of the arm played, less that of the best arm.
        messages, bytes: in all, as `Traffic` counts them.
    """

    at_s: npt.NDArray[np.float64]
    device: npt.NDArray[np.int32]
    arm: npt.NDArray[np.int32]
    cost: npt.NDArray[np.float64]
    regret: npt.NDArray[np.float64]
    messages: int
    bytes: int
