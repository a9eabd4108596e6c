"""The two-arm switch: all on the device, or all at the edge, whichever has been faster lately.

The honest rival of any splitting: most gains reported against "device only" or "edge only" vanish
against a device that knows which of the two is better today. It must be played with its best settings.
"""

from bandits.arrays import Dump, Matrix
from bandits.policy import Cost


class TwoArmSwitch:
    """Keeps a mean cost of both arms, plays the better, probes the other now and then.

    The mean is a running mean until `1 / smoothing` observations and an exponentially weighted one from
    there on, so it is exact at first and follows a moving link later.

    Args:
        device_arm: index of the arm that runs all on the device.
        edge_arm: index of an arm that sends the input.
        name: how tables call it.
        opening_frames: frames each arm is played at the start, alternating.
        probe_every_frames: every so many frames the other arm is played once.
        smoothing: smallest weight of a new observation, in (0, 1].

    Raises:
        ValueError: equal or negative arms, or a setting out of range.
    """

    def __init__(
        self,
        device_arm: int,
        edge_arm: int,
        *,
        name: str = "two_arm",
        opening_frames: int = 2,
        probe_every_frames: int = 40,
        smoothing: float = 0.1,
    ) -> None:
        if min(device_arm, edge_arm) < 0 or device_arm == edge_arm:
            raise ValueError(f"arms {device_arm} and {edge_arm} are not two arms")
        if opening_frames < 1 or probe_every_frames < 2 or not 0.0 < smoothing <= 1.0:
            raise ValueError("opening_frames >= 1, probe_every_frames >= 2 and smoothing in (0, 1] expected")
        self.name = name
        self.arms = (device_arm, edge_arm)
        self._opening_frames = opening_frames
        self._probe_every_frames = probe_every_frames
        self._smoothing = smoothing
        self._means_s = [0.0, 0.0]
        self._counts = [0, 0]
        self._frames = 0

    def select(self, contexts: Matrix) -> int:
        """Return the device arm or the edge arm.

        Raises:
            ValueError: the contexts do not hold both.
        """
        if max(self.arms) >= len(contexts):
            raise ValueError(f"arms {self.arms} are not among {len(contexts)}")
        frame = self._frames
        self._frames += 1
        if min(self._counts) < self._opening_frames:
            return self.arms[int(self._counts[1] < self._counts[0])]
        better = int(self._means_s[1] < self._means_s[0])
        probing = frame % self._probe_every_frames == self._probe_every_frames - 1
        return self.arms[1 - better if probing else better]

    def update(self, arm: int, cost: Cost) -> None:
        """Move the mean of `arm` towards the cost; a bound never lowers it.

        Raises:
            ValueError: neither of the two arms.
        """
        if arm not in self.arms:
            raise ValueError(f"arm {arm} is none of {self.arms}")
        index = self.arms.index(arm)
        observed_s = max(cost.total_s, self._means_s[index]) if cost.censored else cost.total_s
        self._counts[index] += 1
        weight = max(1.0 / self._counts[index], self._smoothing)
        self._means_s[index] += weight * (observed_s - self._means_s[index])

    def dump(self) -> Dump:
        """Return means, counts and the frame number."""
        return {"means_s": list(self._means_s), "counts": list(self._counts), "frames": self._frames}

    def load(self, state: Dump) -> None:
        """Take over what `dump` returned."""
        device_mean_s, edge_mean_s = state["means_s"]
        device_count, edge_count = state["counts"]
        self._means_s = [float(device_mean_s), float(edge_mean_s)]
        self._counts = [int(device_count), int(edge_count)]
        self._frames = int(state["frames"])
