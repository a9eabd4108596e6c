"""Policies in one world, once: what each played and what that cost, round by round."""

from collections.abc import Sequence

import numpy as np

from lab.simulator.runs import Run
from lab.simulator.sharing_engine import play_sharing
from lab.simulator.team import Team
from lab.simulator.world import World


def play(world: World, team: Team) -> Run:
    """Play all turns of a world."""
    return play_beside(world, [team])[0]


def play_beside(world: World, teams: Sequence[Team]) -> list[Run]:
    """Play all turns of a world with several teams, each as if it were alone.

    All randomness of a turn is drawn before anybody chooses, so it can be drawn once for all of them.
    """
    if world.shared is not None:
        return [play_sharing(world, team) for team in teams]
    n = world.rounds
    at_s, device = np.empty(n), np.empty(n, dtype=np.int32)
    cost, regret = np.empty((len(teams), n)), np.empty((len(teams), n))
    arms = np.empty((len(teams), n), dtype=np.int32)
    for i, turn in enumerate(world.turns()):
        at_s[i], device[i] = turn.at_s, turn.device
        for j, team in enumerate(teams):
            arm = team.select(turn)
            measured = turn.cost_of(arm)
            team.update(turn, arm, measured)
            arms[j, i], cost[j, i] = arm, measured.total_s
            regret[j, i] = turn.means[arm] - turn.means.min()
    return [
        Run(at_s, device, arms[j], cost[j], regret[j], team.traffic.messages, team.traffic.bytes)
        for j, team in enumerate(teams)
    ]
