"""How often early exits answer: what an arm costs on average hangs on it.

Begun with what calibration found on held-out images, and followed with each frame that an exit was asked
about, since no camera sees what was trained on. Pure.
"""

import numpy as np

from bandits.policy import Exits
from device.plan import Plan

_WEIGHT = 0.05
"""Of the latest frame: some twenty frames say what the scene is like."""


class ExitOdds:
    """Follows, for each exit, the share of the frames it is asked about that it is sure of.

    Args:
        plan: with the exits that may answer.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._shares: list[float] = []
        before = 0.0
        for each in plan.exits:
            # Frames that an exit is sure of are taken to be those that a deeper one is sure of too.
            after = max(before, each.answered)
            self._shares.append((after - before) / (1.0 - before) if before < 1.0 else 0.0)
            before = after

    def asked(self, arm: int, ended: int | None, *, sure: bool) -> None:
        """Note a head that ran.

        Args:
            arm: that was played.
            ended: the exit where it ended, None where it came to the arm's cut.
            sure: of that exit.
        """
        for number in self._on_the_way(arm):
            if ended is not None and number > ended:
                return
            self._shares[number] += _WEIGHT * (float(sure and number == ended) - self._shares[number])

    def of(self) -> Exits:
        """Return what a policy is to expect of each arm."""
        contexts = self._plan.contexts
        stay, early = np.ones(contexts.shape[0]), np.zeros_like(contexts)
        for arm in range(contexts.shape[0]):
            for number in self._on_the_way(arm):
                share = self._shares[number]
                early[arm] += stay[arm] * share * np.array(self._plan.exits[number].context)
                stay[arm] *= 1.0 - share
        return Exits(stay, early)

    def _on_the_way(self, arm: int) -> list[int]:
        cut = self._plan.arms[arm].cut
        return [number for number, each in enumerate(self._plan.exits) if each.sure and each.cut <= cut]
