"""FedLinUCB-DW with a proved radius in the synthetic world, watched from outside.

The confidence set is looked at in every round, which only a simulation can do.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from bandits.fedlinucb import FedLinUCBDW
from bandits.offline import experience
from bandits.radius import group_radius, information, server_radius
from bandits.statistics import Statistics
from lab.simulator import spec
from lab.simulator.federated_team import FederatedTeam
from lab.simulator.synthetic import SyntheticWorld
from lab.simulator.world import Vector, stream
from lab.theory.bounds import Setting

DIMENSION, ARMS, NOISE, DELTA, REGULARISATION = 5, 10, 0.3, 0.1, 1.0
_POINTS = 60  # of a curve
_EXITS = 9  # stream; those of worlds and teams are smaller

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One group and how it talks.

    Attributes:
        radius: "server" is Theorem 1a's, which asks for strict views; "group" is 1b's or 1c's.
        offline: early-exit rows of each device.
    """

    members: int
    alpha: float
    view: Literal["strict", "fresh"] = "strict"
    download: Literal["members", "uploader"] = "members"
    radius: Literal["server", "group"] = "server"
    offline: int = 0

    @property
    def name(self) -> str:
        """For people."""
        rows = f", {self.offline} offline rows each" if self.offline else ""
        return f"M = {self.members}, alpha = {self.alpha:g}, {self.view}, {self.download}{rows}"

    def setting(self, rounds: int) -> Setting:
        """Return what the bound depends on; the radius is the one for this horizon."""
        most = information(
            dimension=DIMENSION,
            rows=rounds + self.members * self.offline,
            regularisation=REGULARISATION,
        )
        everybody_hears = self.download == "members"
        if self.radius == "server":
            beta_s = server_radius(
                information=most,
                regularisation=REGULARISATION,
                noise_s=NOISE,
                parameter_norm_s=1.0,
                delta=DELTA,
            )
        else:
            beta_s = group_radius(
                information=most,
                members=self.members,
                rounds=rounds,
                alpha=self.alpha,
                regularisation=REGULARISATION,
                noise_s=NOISE,
                parameter_norm_s=1.0,
                everybody_hears=everybody_hears,
                delta=DELTA,
            )
        return Setting(members=self.members, alpha=self.alpha, beta_s=beta_s, everybody_hears=everybody_hears)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Played:
    """One run, at some of its rounds; arrays of one length.

    Attributes:
        rounds: how many had been played.
        regret: so far.
        information: Gamma so far.
        uploads: so far, early-exit rows not counted.
        distance: the largest ||theta^ - theta||_V / beta that was met; the set held if it is at most 1.
    """

    rounds: npt.NDArray[np.int64]
    regret: Array
    information: Array
    uploads: Array
    distance: float


class WorldWithExits(SyntheticWorld):
    """The synthetic world, whose first half of columns belongs to the device and can be run alone."""

    def __init__(self, settings: spec.Synthetic, seed: int) -> None:
        super().__init__(settings, seed)
        self._exits_of = seed
        self._noise = settings.noise
        self.device_columns = np.arange(settings.dimension) < settings.dimension // 2
        self.theta: Vector = np.full(settings.dimension, -1.0 / math.sqrt(settings.dimension))

    def experience(self, device: int, rows: int) -> Statistics:
        """As `World.experience`."""
        random, d = stream(self._exits_of, device, _EXITS), self.theta.shape[0]
        X = random.uniform(-1.0, 1.0, (rows, d)) / math.sqrt(d) * self.device_columns  # noqa: N806
        y = X @ self.theta + self._noise * random.standard_normal(rows)
        return experience(zip(X, y.tolist(), strict=True), d)


def play(case: Case, rounds: int, seed: int) -> Played:
    """Play one case once."""
    world = WorldWithExits(
        spec.Synthetic(devices=case.members, rounds=rounds, dimension=DIMENSION, arms=ARMS, noise=NOISE),
        seed,
    )
    beta_s = case.setting(rounds).beta_s
    team = FederatedTeam(learner(case, beta_s), world, seed)
    receivers = case.members if case.download == "members" else 1
    before = team.traffic.messages
    gram = REGULARISATION * np.eye(DIMENSION)
    for device in range(case.members):
        gram = gram + world.experience(device, case.offline).gram
    start = float(np.linalg.slogdet(gram)[1])
    points = np.unique(np.linspace(1, rounds, _POINTS).astype(np.int64))
    taken: list[tuple[float, float, float]] = []
    regret = distance = 0.0
    for done, turn in enumerate(world.turns(), start=1):
        arm = team.select(turn)
        # After the choice: only then has the device adopted what it had heard of.
        distance = max(distance, _distance(team.policies[turn.device], world.theta) / beta_s)
        team.update(turn, arm, turn.cost_of(arm))
        regret += float(turn.means[arm] - turn.means.min())
        gram += np.outer(turn.contexts[arm], turn.contexts[arm])
        if done == points[len(taken)]:
            uploads = (team.traffic.messages - before) / (1 + receivers)
            taken.append((regret, float(np.linalg.slogdet(gram)[1]) - start, uploads))
    table = np.array(taken)
    return Played(
        rounds=points, regret=table[:, 0], information=table[:, 1], uploads=table[:, 2], distance=distance
    )


def _distance(policy: FedLinUCBDW, theta: Vector) -> float:
    """Return ||theta^ - theta||_V in a policy's view."""
    off = policy.theta - theta
    return math.sqrt(max(0.0, float(off @ policy.member.view().gram @ off)))


def learner(case: Case, beta_s: float) -> spec.Family:
    """Return the learner as it is analysed: no offsets, no probes, a fixed radius, totals."""
    return spec.Family(
        share="all",
        warm_start=case.offline,
        download=case.download,
        view=case.view,
        regularisation=REGULARISATION,
        alpha=case.alpha,
        beta_s=beta_s,
        feedback="total",
        offsets=False,
        probes=False,
    )
