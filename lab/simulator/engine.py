"""One policy in one world, once: what it played and what that cost, round by round."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lab.simulator.teams import Team
from lab.simulator.world import World


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Round by round, arrays of one length.

    Attributes:
        at_s: virtual time.
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


def play(world: World, team: Team) -> Run:
    """Play all turns of a world."""
    n = world.rounds
    at_s, cost, regret = np.empty(n), np.empty(n), np.empty(n)
    device, arms = np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int32)
    for i, turn in enumerate(world.turns()):
        arm = team.select(turn)
        measured = turn.cost_of(arm)
        team.update(turn, arm, measured)
        at_s[i], device[i], arms[i] = turn.at_s, turn.device, arm
        cost[i] = measured.total_s
        regret[i] = turn.means[arm] - turn.means.min()
    return Run(at_s, device, arms, cost, regret, team.traffic.messages, team.traffic.bytes)
