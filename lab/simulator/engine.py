"""Policies in one world, once: what each played and what that cost, round by round."""

from collections.abc import Sequence
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
    return play_beside(world, [team])[0]


def play_beside(world: World, teams: Sequence[Team]) -> list[Run]:
    """Play all turns of a world with several teams, each as if it were alone.

    All randomness of a turn is drawn before anybody chooses, so it can be drawn once for all of them.
    """
    n = world.rounds
    at_s, device = np.empty(n), np.empty(n, dtype=np.int32)
    cost, regret = np.empty((len(teams), n)), np.empty((len(teams), n))
    arms = np.empty((len(teams), n), dtype=np.int32)
    queues = [world.queue() for _ in teams]
    for i, drawn in enumerate(world.turns()):
        at_s[i], device[i] = drawn.at_s, drawn.device
        for j, (team, queue) in enumerate(zip(teams, queues, strict=True)):
            turn = drawn if queue is None or drawn.queued is None else drawn.queued(queue)
            arm = team.select(turn)
            measured = turn.cost_of(arm)
            team.update(turn, arm, measured)
            if turn.played is not None:
                turn.played(arm)
            arms[j, i], cost[j, i] = arm, measured.total_s
            regret[j, i] = turn.means[arm] - turn.means.min()
    return [
        Run(at_s, device, arms[j], cost[j], regret[j], team.traffic.messages, team.traffic.bytes)
        for j, team in enumerate(teams)
    ]
