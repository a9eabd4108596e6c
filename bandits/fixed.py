"""A policy that always plays one arm: device-only and edge-only are this with the right index."""

from bandits.arrays import Dump, Matrix
from bandits.policy import Cost


class FixedArm:
    """Plays `arm` whatever happens.

    Args:
        arm: index of the arm.
        name: how tables call it, such as `device_only`.

    Raises:
        ValueError: a negative index.
    """

    def __init__(self, arm: int, name: str) -> None:
        if arm < 0:
            raise ValueError(f"arm {arm} is negative")
        self.arm = arm
        self.name = name

    def select(self, contexts: Matrix) -> int:
        """Return the arm.

        Raises:
            ValueError: the contexts do not hold it.
        """
        if self.arm >= len(contexts):
            raise ValueError(f"arm {self.arm} is not among {len(contexts)}")
        return self.arm

    def update(self, arm: int, cost: Cost) -> None:
        """Learn nothing."""

    def dump(self) -> Dump:
        """Return an empty state."""
        return {}

    def load(self, state: Dump) -> None:
        """Take over nothing."""
