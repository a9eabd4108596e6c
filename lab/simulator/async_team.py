"""Clients of Async-LinUCB and their server. Messages take no time here and none is lost."""

from bandits.async_linucb import AsyncLinUCB, AsyncServer
from bandits.policy import Cost
from lab.simulator import spec
from lab.simulator.traffic import Traffic
from lab.simulator.world import Turn, World


class AsyncTeam:
    """Implements `Team`."""

    def __init__(self, learner: spec.Async, world: World) -> None:
        self.traffic = Traffic()
        self._dimension = world.device_columns.shape[0]
        clients = len(world.types)
        self._server = AsyncServer(
            clients, self._dimension, regularisation=learner.regularisation, gamma=learner.gamma
        )
        self._clients = [
            AsyncLinUCB(
                self._dimension,
                regularisation=learner.regularisation,
                beta_s=learner.beta_s,
                gamma=learner.gamma,
                estimate=learner.estimate,
            )
            for _ in range(clients)
        ]

    def select(self, turn: Turn) -> int:
        """As `Team.select`."""
        return self._clients[turn.device].select(turn.contexts)

    def update(self, turn: Turn, arm: int, cost: Cost) -> None:
        """As `Team.update`."""
        client = self._clients[turn.device]
        client.update(arm, cost)
        if not client.upload_due():
            return
        self.traffic.upload(self._dimension)
        for receiver, rows in self._server.merge(turn.device, client.take_upload()).items():
            self.traffic.download(self._dimension)
            self._clients[receiver].download(rows)
