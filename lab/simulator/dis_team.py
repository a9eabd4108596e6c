"""Agents of DisLinUCB and their server. Messages take no time here and none is lost."""

from bandits.dis_linucb import DisLinUCB, DisServer
from bandits.policy import Cost
from lab.simulator import spec
from lab.simulator.traffic import Traffic
from lab.simulator.world import Turn, World


class DisTeam:
    """Implements `Team`."""

    def __init__(self, learner: spec.DisLinUCB, world: World) -> None:
        self.traffic = Traffic()
        self._dimension = world.device_columns.shape[0]
        self._server = DisServer(self._dimension, regularisation=learner.regularisation)
        self._agents = [
            DisLinUCB(
                self._dimension,
                regularisation=learner.regularisation,
                beta_s=learner.beta_s,
                threshold=learner.threshold,
            )
            for _ in world.types
        ]

    def select(self, turn: Turn) -> int:
        """As `Team.select`."""
        return self._agents[turn.device].select(turn.contexts)

    def update(self, turn: Turn, arm: int, cost: Cost) -> None:
        """As `Team.update`; a round costs an upload and a download of every agent, with news or without."""
        agent = self._agents[turn.device]
        agent.update(arm, cost)
        if not agent.round_due():
            return
        shared = self._server.round([each.upload() for each in self._agents])
        for each in self._agents:
            self.traffic.upload(self._dimension)
            each.adopt(shared)
        self.traffic.download(self._dimension, len(self._agents))
