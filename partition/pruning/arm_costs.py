"""What each arm takes, with link and edge as unknowns: latency that is linear in what varies.

    latency = front + offload * (wait + 8 * bytes / rate) + edge / speedup

`front` and `edge` are seconds of one and the same device, so an edge worker of speed-up s takes edge / s. In
u = 1 / rate, v = 1 / speedup and w = wait this is linear, which is all that `dominance.py` needs.
This file must never measure anything.
"""

import math
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from bus.errors import ConfigurationError

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ArmCosts:
    """K arms on one device.

    Attributes:
        labels: for people, length K.
        front_s: shape (K,), preprocessing, head and encoding, on the device.
        payload_bytes: shape (K,), mean of what crosses the link.
        edge_s: shape (K,), decoding and tail, as long as they would take the device.
        offload: shape (K,), whether anything is sent.

    Raises:
        ConfigurationError: no arm, lists of other lengths, numbers that are negative or not finite, or an arm
            that sends nothing and yet leaves bytes or work for the edge.
    """

    labels: tuple[str, ...]
    front_s: Vector
    payload_bytes: Vector
    edge_s: Vector
    offload: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        """Refuse what has no latency."""
        count = len(self.labels)
        parts = (self.front_s, self.payload_bytes, self.edge_s)
        if count == 0 or any(part.shape != (count,) for part in (*parts, self.offload)):
            raise ConfigurationError(
                "costs of arms need one number an arm, and at least one arm: profile again"
            )
        for label, numbers in zip(self.labels, np.stack(parts, axis=1), strict=True):
            if not (np.isfinite(numbers).all() and (numbers >= 0.0).all()):
                raise ConfigurationError(
                    f"arm {label} costs {numbers.tolist()} (device s, bytes, edge s), which must be finite "
                    "and not negative: profile again"
                )
        idle = ~self.offload & ((self.payload_bytes > 0.0) | (self.edge_s > 0.0))
        if idle.any():
            label = self.labels[int(np.argmax(idle))]
            raise ConfigurationError(f"arm {label} offloads nothing, so it can send nothing: profile again")

    @property
    def count(self) -> int:
        """Number of arms K."""
        return len(self.labels)

    def latency_s(self, rate: npt.ArrayLike, speedup: npt.ArrayLike, wait_s: npt.ArrayLike) -> Vector:
        """Return latencies, shape (..., K), for arrays of points that broadcast together.

        Args:
            rate: of the link, bit/s.
            speedup: of the edge worker over the device.
            wait_s: what each offload costs besides: round trip and queue.
        """
        rate, speedup, wait_s = (np.asarray(one, float)[..., None] for one in (rate, speedup, wait_s))
        sent = self.offload * (wait_s + 8.0 * self.payload_bytes / rate)
        seconds: Vector = self.front_s + sent + self.edge_s / speedup
        return seconds


@dataclass(frozen=True, slots=True)
class Ranges:
    """Where a device may find itself, both ends included; equal ends fix a quantity.

    Attributes:
        rate: of the link, bit/s.
        speedup: of the edge worker over the device, 1 or more.
        wait_s: of each offload, besides transfer and computing: round trip and queue.

    Raises:
        ConfigurationError: an end that is not finite, out of order, or out of bounds.
    """

    rate: tuple[float, float] = (1e5, 1e8)
    speedup: tuple[float, float] = (1.0, 50.0)
    wait_s: tuple[float, float] = (0.0, 0.1)

    def __post_init__(self) -> None:
        """Refuse boxes that are none."""
        for field in fields(self):
            low, high = getattr(self, field.name)
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise ConfigurationError(
                    f"the range {low:g} to {high:g} of {field.name} will not do: give two finite numbers, "
                    "the smaller one first"
                )
        if self.rate[0] <= 0.0 or self.wait_s[0] < 0.0:
            raise ConfigurationError("a link needs a rate above 0 bit/s, and a wait of 0 s or more")
        if self.speedup[0] < 1.0:
            raise ConfigurationError(
                f"an edge worker of speed-up {self.speedup[0]:g} is slower than the device, about which "
                "nothing is promised: give a speed-up of 1 or more"
            )
