"""All devices of one policy, as an engine sees them; those that tell each other nothing."""

from collections.abc import Sequence
from typing import Protocol

from bandits.policy import Cost, Policy, heeds_link_checks
from lab.simulator.traffic import Traffic
from lab.simulator.world import Turn, tell_of_link, tell_of_queue


class Team(Protocol):
    """Plays all devices of a world."""

    traffic: Traffic

    def select(self, turn: Turn) -> int:
        """Return the arm of the turn's device."""
        ...

    def update(self, turn: Turn, arm: int, cost: Cost) -> None:
        """Learn what it cost, and tell whom it concerns."""
        ...


class Alone:
    """Devices that tell nobody anything, or share one policy at no cost. Implements `Team`.

    Args:
        policies: of each device; the same object for devices that are one.
    """

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._policies = policies
        self._heeding = [policy if heeds_link_checks(policy) else None for policy in policies]
        self.traffic = Traffic()

    def select(self, turn: Turn) -> int:
        """As `Team.select`."""
        tell_of_queue(self._policies[turn.device], turn)
        return self._policies[turn.device].select(turn.contexts)

    def update(self, turn: Turn, arm: int, cost: Cost) -> None:
        """As `Team.update`."""
        self._policies[turn.device].update(arm, cost)
        heeding = self._heeding[turn.device]
        if heeding is not None:
            tell_of_link(heeding, turn, cost)
